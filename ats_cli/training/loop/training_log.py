"""What a training writes while it runs: checkpoints, history.csv, TensorBoard logs."""

import csv
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from ats_cli.results.files import csv_bytes, write_whole
from ats_cli.training.loop.checkpoint import Tensors, read_checkpoint, write_checkpoint

COLUMNS = (
    "step", "seconds", "lr", "loss", "accuracy", "attention_mass", "effective_positions",
    "validation_loss", "validation_accuracy", "validation_attention_mass",
)  # fmt: skip


class TrainingLog:
    """The checkpoints and the history of a training in `folder`. `every`: steps between checkpoints.

    checkpoints/last.safetensors holds all that is needed to resume. It names the best checkpoint,
    checkpoints/best-STEP, which is written before it and deleted after it is replaced: the two on disk always belong
    together. history.csv holds the rows up to the last checkpoint; after a kill it may hold more, which `open` removes.
    """

    def __init__(self, folder: Path, every: int = 50) -> None:
        self.folder, self.every = folder, every
        self._unwritten_rows: list[list[object]] = []
        self._tensorboard: Any = None

    @property
    def last(self) -> Path:
        """The file of the last checkpoint."""
        return self.folder / "checkpoints" / "last.safetensors"

    def best(self, step: int) -> Path:
        """The file of the best weights, those of `step`."""
        return self.folder / "checkpoints" / f"best-{step}.safetensors"

    def open(self, step: int = 0, best_step: int | None = None) -> None:
        """Begin or resume after `step`, with the best weights of `best_step`.

        Removes later rows of the history, as their steps are repeated, and other best weights, which a process that was
        ended between writing a checkpoint and deleting the previous one leaves.
        """
        self._delete_best_except(None if best_step is None else self.best(best_step))
        file = self.folder / "history.csv"
        rows: list[list[object]] = [list(COLUMNS)]
        with suppress(FileNotFoundError), file.open(newline="", encoding="utf-8") as stream:
            for row in list(csv.reader(stream))[1:]:
                if len(row) == len(COLUMNS) and int(row[0]) <= step:
                    rows.append([*row])
        write_whole(file, csv_bytes(rows))
        self._tensorboard = _tensorboard_writer(self.folder / "tensorboard", step)

    def add_row(self, step: int, figures: dict[str, float]) -> None:
        """Add a row to the history; it is written with the next checkpoint. `figures` by name of COLUMNS."""
        assert set(figures) <= set(COLUMNS)
        self._unwritten_rows.append([step, *(_finite(figures.get(name)) for name in COLUMNS[1:])])
        if self._tensorboard is not None:
            for name, value in figures.items():
                tag = name.replace("validation_", "validation/") if "validation" in name else f"train/{name}"
                self._tensorboard.add_scalar(tag, value, step)

    def save_checkpoint(self, tensors: Tensors, state: dict[str, Any], best: Tensors | None) -> None:
        """Write the last checkpoint, and before it the best weights if they are of this step, state["best"]["step"]."""
        if self._unwritten_rows:
            with (self.folder / "history.csv").open("ab") as file:
                file.write(csv_bytes(self._unwritten_rows))
            self._unwritten_rows = []
        if self._tensorboard is not None:
            self._tensorboard.flush()
        best_file = None
        if best is not None:
            best_file = self.best(state["best"]["step"])
            if state["best"]["step"] == state["step"] or not best_file.exists():
                write_checkpoint(best_file, best, state["best"])
        write_checkpoint(self.last, tensors, state)
        self._delete_best_except(best_file)

    def _delete_best_except(self, file: Path | None) -> None:
        for old in self.last.parent.glob("best-*.safetensors"):
            if old != file:
                old.unlink()

    def load_checkpoint(self) -> tuple[Tensors, dict[str, Any], Tensors | None]:
        """Return (tensors, state, best weights) of the last checkpoint. Raises AtsError if it cannot be read."""
        tensors, state = read_checkpoint(self.last)
        best: dict[str, Tensor] | None = None
        if state["best"]:
            best, _ = read_checkpoint(self.best(state["best"]["step"]))
        return tensors, state, best

    def close(self) -> None:
        if self._tensorboard is not None:
            self._tensorboard.close()


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _tensorboard_writer(folder: Path, step: int) -> Any:
    """A writer of TensorBoard logs, or None if tensorboard is not installed: history.csv has the same figures."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
