"""The default model, stored in the user's configuration folder. No torch."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from ats_cli.errors import AtsError
from ats_cli.paths import user_path

FOLDER_VARIABLE = "ATS_CONFIG"


def config_file() -> Path:
    """Return config.toml in the folder that ATS_CONFIG names, else in the system's folder for configurations."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return user_path(named) / "config.toml"
    from platformdirs import user_config_path

    return user_config_path("ats", appauthor=False) / "config.toml"


def default_model() -> str | None:
    """Return the model that `ats models default` set, or None. Raises AtsError for a file that cannot be parsed."""
    file = config_file()
    try:
        model = tomllib.loads(file.read_text(encoding="utf-8")).get("model")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AtsError(f"{file}: cannot be read ({error}). Fix or delete it.") from error
    if model is not None and not isinstance(model, str):
        raise AtsError(f"{file}: model is not a name in quotes. Fix or delete it.")
    return model


def set_default_model(name: str | None) -> None:
    """Store a model's name, or delete it for None. Raises OSError if the file cannot be written."""
    import tomli_w

    file = config_file()
    if name is None:
        file.unlink(missing_ok=True)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.write_text(tomli_w.dumps({"model": name}), encoding="utf-8")
    part.replace(file)
