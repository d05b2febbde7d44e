"""An evaluation: predictions of labelled slides at several budgets, their figures, and the files of both."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ats_cli.records import DEFAULT_TASK, SCHEMA_VERSION, Prediction
from ats_cli.results.budget_figures import BudgetFigures, Truth, budget_figures, calibration
from ats_cli.results.evaluation.bootstrap import LEVEL, RESAMPLES
from ats_cli.results.evaluation.plots import write_plots
from ats_cli.results.files import csv_bytes, json_bytes, refuse_dangling_link, write_whole
from ats_cli.results.groups import Group, GroupBy, grouped, groups_csv
from ats_cli.results.run.slide_files import without_tiles
from ats_cli.results.run.table import columns, row


class Evaluation:
    """Collects predictions of labelled slides at several budgets, and computes their figures.

    truth: by slide id, in the order of the tables. budgets: in increasing order; None for all tiles.
    failed: the error by slide id. A slide that fails at one budget is left out of the figures of all budgets.
    unfamiliar: ids of slides unlike those that the model was trained on.
    group_by: compute also figures with one prediction per group.
    """

    def __init__(
        self,
        truth: Mapping[str, Truth],
        classes: tuple[str, ...],
        budgets: Sequence[int | None],
        group_by: GroupBy | None = None,
        task: str = DEFAULT_TASK,
    ) -> None:
        self.truth, self.classes, self.group_by, self.task = truth, classes, group_by, task
        self.failed: dict[str, str] = {}
        self.unfamiliar: set[str] = set()
        self._found: dict[int | None, dict[str, Prediction]] = {budget: {} for budget in budgets}

    def add(self, budget: int | None, prediction: Prediction) -> None:
        """Add the prediction of a slide at a budget."""
        self._found[budget][prediction.slide_id] = without_tiles(prediction)
        if prediction.comparison.unfamiliar:
            self.unfamiliar.add(prediction.slide_id)
        if prediction.status == "failed":
            self.failed[prediction.slide_id] = str(prediction.error)

    def figures(self, seed: int) -> list[BudgetFigures]:
        """Return the figures at each budget over the slides that did not fail; [] if all failed."""
        good = [slide_id for slide_id in self.truth if slide_id not in self.failed]
        found = [
            budget_figures(budget, [own[slide_id] for slide_id in good], self.truth, self.classes, seed)
            for budget, own in self._found.items()
            if good
        ]
        if self.group_by is None or not found:
            return found
        truth = {t.group: Truth(t.label, t.group) for t in self.truth.values()}
        return [
            replace(
                at,
                by_group=budget_figures(budget, [g.prediction for g in groups if g.slides], truth, self.classes, seed),
            )
            for at, (budget, own) in zip(found, self._found.items(), strict=True)
            if (groups := self._groups(own))
        ]

    def _groups(self, own: Mapping[str, Prediction]) -> list[Group]:
        """Return the groups at one budget, without the slides that failed at any budget."""
        assert self.group_by is not None
        found = {name: replace(p, status="failed") if name in self.failed else p for name, p in own.items()}
        return grouped({name: t.group for name, t in self.truth.items()}, found, self.group_by.weights)

    def as_dict(
        self, found: Sequence[BudgetFigures], model: Mapping[str, Any], settings: Mapping[str, Any], seed: int
    ) -> dict[str, Any]:
        """Return metrics.json as JSON-ready values; a figure that is not defined is None."""
        groups = {t.group for t in self.truth.values()}
        return {
            "schema_version": SCHEMA_VERSION,
            "model": dict(model),
            "settings": {name: value for name, value in settings.items() if name != "tiles"},
            "classes": list(self.classes),
            "slides": len(self.truth),
            "groups": len(groups),
            "group_by": self.group_by._asdict() if self.group_by else None,
            "slides_by_class": {c: sum(t.label == c for t in self.truth.values()) for c in self.classes},
            "failed": sorted(self.failed),
            "unfamiliar": sorted(self.unfamiliar),
            "intervals": {"level": LEVEL, "method": "bootstrap over groups", "resamples": RESAMPLES, "seed": seed},
            "budgets": [
                {
                    "tiles": at.tiles,
                    **_figures_of(at),
                    "cost": at.cost,
                    "by_group": None if at.by_group is None else _figures_of(at.by_group),
                }
                for at in found
            ],
        }

    def write(self, folder: Path, said: Mapping[str, Any], found: Sequence[BudgetFigures]) -> None:
        """Write predictions.csv of the largest budget, a table per budget if there are several, plots and metrics.json.

        Files of an earlier evaluation are deleted.
        """
        for pattern in ("predictions_*.csv", "accuracy_tiles.*", "metrics.json"):
            for earlier in folder.glob(pattern):
                earlier.unlink()
        files: dict[str, bytes] = {}
        for budget, own in self._found.items():
            tables = {"predictions": self._table(own)}
            if self.group_by is not None:
                tables["predictions_by_group"] = groups_csv(self.classes, self._groups(own), self.task)
            for name, table in tables.items():
                if len(self._found) > 1:
                    files[f"{name}_{budget}.csv"] = table
                files[f"{name}.csv"] = table
        for name, content in files.items():
            write_whole(folder / name, content)
        write_plots(folder, self.classes, found)
        write_whole(folder / "metrics.json", json_bytes(said))
        if not all((folder / name).is_file() for name in files):
            raise OSError(errno.ENOENT, "deleted while it was written. Run it again", str(folder))

    def _table(self, own: Mapping[str, Prediction]) -> bytes:
        """Return predictions.csv as `ats predict` writes it, with the further columns label and group."""
        heading: list[object] = [*columns(self.classes, self.task), "label", "group"]
        rows = [
            [*row(own[slide_id], len(self.classes), self.task), truth.label, truth.group]
            for slide_id, truth in self.truth.items()
            if slide_id in own
        ]
        return csv_bytes([heading, *rows])


def check_writable(folder: Path) -> None:
    """Raise AtsError or OSError if a folder cannot be written. Called before the predictions, which take long."""
    refuse_dangling_link(folder)
    above = next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
    with tempfile.TemporaryFile(dir=above):
        pass


def _figures_of(at: BudgetFigures) -> dict[str, Any]:
    return {
        "figures": {name: asdict(estimate) for name, estimate in at.figures.items()},
        "by_class": {c: {f: asdict(e) for f, e in own.items()} for c, own in at.by_class.items()},
        "confusion_matrix": at.confusion,
        "calibration": calibration(at.table),
    }
