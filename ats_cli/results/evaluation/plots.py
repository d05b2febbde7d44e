"""Pictures of an evaluation, each as PNG and SVG: ROC, precision-recall, calibration, accuracy against tiles."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ats_cli.records import PICTURE_SOFTWARE
from ats_cli.results.budget_figures import BudgetFigures, calibration
from ats_cli.results.evaluation import metrics as m
from ats_cli.results.evaluation.bootstrap import IntervalEstimate
from ats_cli.results.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, DPI = 5.0, 150  # inches, pixels an inch
METADATA: dict[str, dict[str, Any]] = {"png": {"Software": PICTURE_SOFTWARE}, "svg": {"Date": None}}
FORMATS = tuple(METADATA)
DIAGONAL: dict[str, Any] = {"color": "0.7", "linewidth": 1, "linestyle": "--", "zorder": 0}


def write_plots(folder: Path, classes: tuple[str, ...], found: Sequence[BudgetFigures]) -> None:
    """Write roc, pr and calibration at the last (largest) budget, and accuracy_tiles where there are several."""
    last = found[-1]
    plots = {"roc": _roc(classes, last), "pr": _pr(classes, last), "calibration": _calibration(last)}
    if len(found) > 1:
        plots["accuracy_tiles"] = _accuracy_tiles(found)
    for name, figure in plots.items():
        for kind in FORMATS:
            write_whole(folder / f"{name}.{kind}", _bytes(figure, kind))


def _roc(classes: tuple[str, ...], at: BudgetFigures) -> Figure:
    figure, axes = _square("false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], **DIAGONAL)
    for c in _drawable(at, classes):
        false, true, _ = m.curve(at.table, c)
        axes.plot(false, true, color=_colour(c), label=f"{classes[c]}: {_said(at.by_class[classes[c]]['auroc'])}")
    _legend(axes, "AUROC, 95 % interval", "lower right")
    return figure


def _pr(classes: tuple[str, ...], at: BudgetFigures) -> Figure:
    figure, axes = _square("recall", "precision")
    for c in _drawable(at, classes):
        _, recall, precision = m.curve(at.table, c)
        label = f"{classes[c]}: {_said(at.by_class[classes[c]]['auprc'])}"
        axes.plot(recall, precision, color=_colour(c), label=label, drawstyle="steps-pre")
        axes.axhline(float((at.table.labels == c).mean()), color=_colour(c), linewidth=0.8, linestyle=":", zorder=0)
    _legend(axes, "AUPRC, 95 % interval (dotted: chance)", "lower left")
    return figure


def _calibration(at: BudgetFigures) -> Figure:
    """Accuracy against confidence; the area of a dot says how many slides."""
    figure, axes = _square("probability of the predicted class", "share that is right")
    axes.plot([0, 1], [0, 1], **DIAGONAL)
    bins = calibration(at.table)
    confidence, accuracy = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
    axes.plot(confidence, accuracy, color=_colour(0), linewidth=1)
    sizes = [20 + 400 * b["slides"] / len(at.table.labels) for b in bins]
    label = f"{m.BINS} bins, by number of slides"
    axes.scatter(confidence, accuracy, s=sizes, color=_colour(0), alpha=0.6, linewidths=0, clip_on=False, label=label)
    _legend(axes, f"calibration error {_said(at.figures['calibration_error'])}", "lower right", mark=0.5)
    return figure


def _accuracy_tiles(found: Sequence[BudgetFigures]) -> Figure:
    figure, axes = _axes("tiles read per slide (mean)", "figure")
    costs = [at.cost["tiles"] or 0.0 for at in found]
    for i, name in enumerate(("accuracy", "balanced_accuracy", "auroc")):
        estimates = [at.figures[name] for at in found]
        known = [(cost, e) for cost, e in zip(costs, estimates, strict=True) if e.value is not None]
        # A little apart, so that the bars of one budget do not hide each other.
        x = [cost * (1 + 0.03 * (i - 1)) for cost, _ in known]
        y = [e.value or 0.0 for _, e in known]
        below = [v - (v if e.low is None else e.low) for v, (_, e) in zip(y, known, strict=True)]
        above = [(v if e.high is None else e.high) - v for v, (_, e) in zip(y, known, strict=True)]
        label = name.replace("_", " ").replace("auroc", "AUROC")
        axes.errorbar(x, y, yerr=[below, above], color=_colour(i), marker="o", markersize=4, capsize=3, label=label)
    axes.set_xscale("log")
    axes.set_xticks(costs, [f"{cost:.3g}" for cost in costs])
    axes.minorticks_off()
    axes.set_ylim(top=1.01)
    _legend(axes, "95 % intervals", "lower right")
    return figure


def _drawable(at: BudgetFigures, classes: tuple[str, ...]) -> list[int]:
    """Classes that occur, but are not all there is."""
    return [c for c in range(len(classes)) if 0 < (at.table.labels == c).sum() < len(at.table.labels)]


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIDE, SIDE), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    figure, axes = _axes(x, y)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return figure, axes


def _legend(axes: Axes, title: str, place: str, mark: float = 1.0) -> None:
    if axes.get_legend_handles_labels()[0]:
        style: dict[str, Any] = {"loc": place, "markerscale": mark, "title": title}
        axes.legend(**style, fontsize=8, title_fontsize=8, frameon=False)


def _colour(index: int) -> str:
    return f"C{index % 10}"


def _said(estimate: IntervalEstimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _bytes(figure: Figure, kind: str) -> bytes:
    from matplotlib import rc_context

    file = BytesIO()
    # Text stays text in an SVG; without date and random ids, the same figures give the same file.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ats"}):
        figure.savefig(file, format=kind, metadata=METADATA[kind])
    return file.getvalue()
