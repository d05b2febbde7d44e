"""What a training writes down on its way: checkpoints, history.csv, TensorBoard logs."""

import csv
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from ats_cli.results.files import csv_bytes, write_whole
from ats_cli.training.checkpoint import Tensors, read_checkpoint, write_checkpoint

COLUMNS = (
    "step", "seconds", "lr", "loss", "accuracy", "attention_mass", "effective_positions",
    "validation_loss", "validation_accuracy", "validation_attention_mass",
)  # fmt: skip


class Diary:
    """The folder of a training. `every`: steps between checkpoints.

    checkpoints/last.safetensors is all that is needed to go on; it names the best one, checkpoints/best-STEP, which
    is written before it and outlives it: at every moment the two on disk belong together. history.csv has the rows up
    to the last checkpoint, and after a kill a few more, which going on removes.
    """

    def __init__(self, folder: Path, every: int = 50) -> None:
        self.folder, self.every = folder, every
        self.rows: list[list[object]] = []
        self.board: Any = None

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.safetensors"

    def best(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"best-{step}.safetensors"

    def begin(self, step: int = 0) -> None:
        """Go on after `step`: later rows of the history are of steps that will come again."""
        file = self.folder / "history.csv"
        kept: list[list[object]] = [list(COLUMNS)]
        with suppress(FileNotFoundError), file.open(newline="", encoding="utf-8") as stream:
            for row in list(csv.reader(stream))[1:]:
                if len(row) == len(COLUMNS) and int(row[0]) <= step:
                    kept.append([*row])
        write_whole(file, csv_bytes(kept))
        self.board = _tensorboard(self.folder / "tensorboard", step)

    def note(self, step: int, figures: dict[str, float]) -> None:
        """One row of the history; what has no column is an error of ours."""
        self.rows.append([step, *(_plain(figures.get(name)) for name in COLUMNS[1:])])
        assert set(figures) <= set(COLUMNS)
        if self.board is not None:
            for name, value in figures.items():
                tag = name.replace("validation_", "validation/") if "validation" in name else f"train/{name}"
                self.board.add_scalar(tag, value, step)

    def checkpoint(self, tensors: Tensors, state: dict[str, Any], best: Tensors | None) -> None:
        """Write `last`, and `best` before it where its step, state["best"]["step"], is this one."""
        if self.rows:
            with (self.folder / "history.csv").open("ab") as file:
                file.write(csv_bytes(self.rows))
            self.rows = []
        if self.board is not None:
            self.board.flush()
        keep = None
        if best is not None:
            keep = self.best(state["best"]["step"])
            if state["best"]["step"] == state["step"] or not keep.exists():
                write_checkpoint(keep, best, state["best"])
        write_checkpoint(self.last, tensors, state)
        for old in self.last.parent.glob("best-*.safetensors"):
            if old != keep:
                old.unlink()

    def read(self) -> tuple[Tensors, dict[str, Any], Tensors | None]:
        """(tensors, state, the best nets' tensors) of the last checkpoint. AtsError where it cannot be read."""
        tensors, state = read_checkpoint(self.last)
        best: dict[str, Tensor] | None = None
        if state["best"]:
            best, _ = read_checkpoint(self.best(state["best"]["step"]))
        return tensors, state, best

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def _plain(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer of TensorBoard logs where tensorboard is installed, else None: history.csv has the same figures."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)
