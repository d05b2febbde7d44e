"""Paths as users write them, on the command line, in tables, in environment variables and in the configuration file."""

from __future__ import annotations

import os
from pathlib import Path

from ats_cli.errors import AtsError


def user_path(text: str) -> Path:
    """Return the path that a user wrote. `~` and `~name` at its start are home folders, as in a shell.

    A shell expands them only where they are not quoted and begin a word: not in a table, nor in `--output=~/run`. `~`
    is the home folder even if a file in the working directory is called so: `./~` names that. `~name` is the file of
    that name in the working directory if there is one, because a shell hands over the names that a glob matches.

    Raises AtsError where the home folder is not known.
    """
    path = Path(text)
    if not text.startswith("~"):
        return path
    user, slash, _ = text.partition("/")
    if user != "~" and Path(user).exists():
        return path
    try:
        expanded = os.path.expanduser(text)  # noqa: PTH111 (Path.expanduser raises RuntimeError for any unknown name)
    except ValueError:  # no name of a user
        return path
    if expanded == text and (slash or user == "~"):
        raise AtsError(f"{text}: the home folder of {user} is not known here. Write the whole path, or ./{text}.")
    return Path(expanded)
