"""The folder that a training writes into."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ats_cli.errors import AtsError
from ats_cli.results.files import refuse_dangling_link
from ats_cli.training.loop.processes import first_process
from ats_cli.training.loop.training_log import TrainingLog
from ats_cli.training.settings import SETTINGS_FILE
from ats_cli.zoo.folder import WEIGHTS_FILE

VIEWS_FOLDER, LOCK = "views.zarr", ".lock"


def refuse_non_empty(output: Path) -> None:
    """Raise AtsError if the folder holds anything but cached views, or is a link to a missing folder."""
    refuse_dangling_link(output)
    # Another process of this training, which torchrun started a moment earlier, may have made the views.
    own = (VIEWS_FOLDER, LOCK)
    if output.exists() and (not output.is_dir() or any(entry.name not in own for entry in output.iterdir())):
        begun = any((folder / SETTINGS_FILE).is_file() for folder in _trainings(output))
        hint = " To continue the training in it, give --resume." if begun else ""
        raise AtsError(f"{output}: exists and is not empty. Give a new folder with -o.{hint}")


@contextmanager
def claim_output(output: Path, resume: bool = False) -> Iterator[None]:
    """Make the folder before the long work and lock it: one training at a time writes into a folder.

    The lock ends with the process, whatever ends it. A new folder is removed if the work ends without a checkpoint.
    Only the first of several processes of one training locks and removes it: another may end before the first has
    written a checkpoint. Raises AtsError if the folder cannot be written, if another training writes into it, or,
    without `resume`, if it is not empty.
    """
    refuse_dangling_link(output)
    first = first_process()
    new = first and not output.exists()
    lock = FileLock(output / LOCK)
    try:
        output.mkdir(parents=True, exist_ok=True)
        if first:
            lock.acquire(blocking=False)
            with tempfile.TemporaryFile(dir=output):
                pass
    except Timeout:
        raise AtsError(
            f"{output}: another training writes into this folder. Wait until it has ended, or give another folder with "
            "-o."
        ) from None
    except OSError as error:
        raise AtsError(f"{output}: cannot be written ({error.strerror}). Give another folder with -o.") from error
    try:
        if first and not resume:
            refuse_non_empty(output)  # again: another training may have ended in the meantime
        yield
    finally:
        if new and not _with_checkpoint(output):
            shutil.rmtree(output, ignore_errors=True)
        lock.release()


def interruption_message(output: Path) -> str:
    """Return a sentence about what an interrupted training has written."""
    if (output / WEIGHTS_FILE).is_file():
        return f"{output} has the best model so far."
    found = _with_checkpoint(output)
    if not found:
        return "There is no checkpoint yet."
    if found[0] == output:
        return f"{output} has its last checkpoint."
    return f"{output} has the last checkpoints of {len(found)} fold{'s' * (len(found) > 1)}."


def fold_folder(output: Path, number: int) -> Path:
    """The folder of one fold of a cross-validation."""
    return output / "folds" / str(number)


def _trainings(output: Path) -> list[Path]:
    """The folders of all trainings of one call: of the final model, and of each fold."""
    return [output, *sorted(output.glob("folds/*"))]


def _with_checkpoint(output: Path) -> list[Path]:
    return [folder for folder in _trainings(output) if TrainingLog(folder).last.is_file()]
