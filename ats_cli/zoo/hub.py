"""Model folders from the Hugging Face hub: `hf://owner/name`, or `hf://owner/name@revision`. No torch."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from ats_cli.errors import ModelError
from ats_cli.zoo.folder import MODEL_FILES, SPEC_FILE

PREFIX = "hf://"
NAME = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def is_hub_name(name: str) -> bool:
    return name.startswith(PREFIX)


def pull(name: str) -> Path:
    """Fetch a model folder into the hub's cache, unless it is there, and return its path.

    huggingface-hub reads `HF_ENDPOINT`, `HF_HOME` and `HF_TOKEN`. Without a connection, a model fetched before is used.
    Raises ModelError with a sentence.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise ModelError(f"{name}: not a model of the hub. Write hf://owner/name, or hf://owner/name@revision.")
    import huggingface_hub
    from huggingface_hub import errors
    from huggingface_hub.utils.logging import set_verbosity_error
    from huggingface_hub.utils.tqdm import disable_progress_bars

    set_verbosity_error()  # type: ignore[no-untyped-call]
    if not sys.stderr.isatty():
        disable_progress_bars()
    # No other file is fetched: no code, no pickle.
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        found = huggingface_hub.snapshot_download(
            match["repo"], revision=match["revision"], allow_patterns=list(MODEL_FILES), endpoint=endpoint
        )
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{name}: the hub has no revision {match['revision']} of it. Check it on its page.") from error
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{name}: its owners require consent. Give it on its page, and log in: hf auth login."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(f"{name}: not on the hub, or private. Check the name, or log in: hf auth login.") from error
    except errors.HFValidationError as error:
        raise ModelError(f"{name}: not a name that the hub can have ({error}). Write hf://owner/name.") from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelError(
            f"{name}: the hub cannot be reached, and this model has not been fetched before. Check the connection, or "
            "fetch it elsewhere and give its folder."
        ) from error
    except Exception as error:  # errors of the network: offline, proxies, certificates
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{name}: could not be fetched from the hub ({type(error).__name__}: {reason}). Check the connection, or "
            "fetch it elsewhere and give its folder."
        ) from error
    folder = Path(str(found))
    if not (folder / SPEC_FILE).is_file():
        raise ModelError(f"{name}: has no {SPEC_FILE}, so it is not a model of ats. Check the name.")
    return folder


def pulled() -> list[str]:
    """Return the names of the model folders in the hub's cache, sorted."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted(
        PREFIX + repo.repo_id
        for repo in repos
        if any(file.file_name == SPEC_FILE for revision in repo.revisions for file in revision.files)
    )
