"""The heatmap of a slide's attention over its view, as a PNG."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ats_cli.errors import AtsError
from ats_cli.records import AttentionMap
from ats_cli.results.pictures.slide_frame import FramedPicture, SlideFrame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scale = Literal["auto", "linear", "log", "rank"]

# Attention of which this share of the positions holds most is shown on the log scale, other attention by rank.
PEAK_POSITIONS = 0.01

LOG_RANGE = 1e-3  # on the log scale, attention below this share of the highest has one colour
LABELS = {
    "linear": "attention (times average)",
    "log": "attention (times average, log scale)",
    "rank": "attention (share of positions with less)",
}


@dataclass(frozen=True)
class HeatmapOptions:
    """How a heatmap is drawn.

    scale: how attention becomes colour; auto is log or rank, as `readable_scale` says.
    alpha: opacity of the highest attention. colormap: one of matplotlib's.
    max_size: the longer side of the slide in the picture, in pixels.
    """

    scale: Scale = "auto"
    alpha: float = 0.6
    colormap: str = "turbo"
    max_size: int = 1600


def write_heatmap(path: Path, frame: SlideFrame, attention: AttentionMap, options: HeatmapOptions) -> None:
    """Write the heatmap of a slide to a PNG file; an existing one is replaced whole or not at all.

    AtsError for a colormap that does not exist, OSError if the file cannot be written.
    """
    draw_heatmap(frame, attention, options).save(path)


def draw_heatmap(frame: SlideFrame, attention: AttentionMap, options: HeatmapOptions) -> FramedPicture:
    """Return the heatmap of a slide. Positions without attention are transparent.

    AtsError for a colormap that does not exist.
    """
    cmap = check_colormap(options.colormap)
    picture = FramedPicture(frame, options.max_size)
    values, pitch = _coarsened(attention, max(frame.size) / options.max_size)
    scale = readable_scale(values) if options.scale == "auto" else options.scale
    shown, norm = _scaled(values, attention.positions, scale)
    strength = norm(shown).filled(0.0).clip(0.0, 1.0)
    colors = cmap(strength)
    # Over a slide, faint attention is faint colour too, so that tissue stays visible.
    colors[..., 3] = options.alpha * strength**0.5 if frame.view is not None else 1.0
    colors[values <= 0, 3] = 0.0
    rows, cols = values.shape
    picture.axes.imshow(colors, extent=(0, cols * pitch, rows * pitch, 0), interpolation="nearest")
    picture.color_bar(norm, cmap, LABELS[scale])
    return picture


def readable_scale(values: NDArray[np.float64]) -> Scale:
    """Return log where 1 % of the positions hold more than half of the attention, else rank.

    Ranks colour the background of peaked attention, the logarithm nearly all of attention that is spread.
    """
    import numpy as np

    positive = np.sort(values[values > 0])
    peak = positive[len(positive) - max(1, round(PEAK_POSITIONS * len(positive))) :].sum()
    return "log" if len(positive) > 1 / PEAK_POSITIONS and peak > positive.sum() / 2 else "rank"


def check_colormap(name: str) -> Any:
    """Return the matplotlib colormap of that name. AtsError, naming near ones, where there is none."""
    import matplotlib

    if name in matplotlib.colormaps:
        return matplotlib.colormaps[name]
    near = get_close_matches(name, list(matplotlib.colormaps), n=3) or ["turbo", "viridis", "magma"]
    raise AtsError(f"there is no colormap {name!r}. Near ones: {', '.join(near)}.")


def _coarsened(attention: AttentionMap, pixel: float) -> tuple[NDArray[np.float64], float]:
    """Return the map and its pitch, with several positions joined where they are smaller than a picture's pixel.

    The highest of the joined ones is kept: a single hot position must not vanish between two pixels.
    """
    import numpy as np

    values, pitch = attention.values, attention.pitch
    factor = int(pixel // pitch)
    if factor < 2:
        return values, pitch
    rows, cols = (-(-side // factor) for side in values.shape)
    padded = np.zeros((rows * factor, cols * factor))
    padded[: values.shape[0], : values.shape[1]] = values
    return padded.reshape(rows, factor, cols, factor).max(axis=(1, 3)), pitch * factor


def _scaled(values: NDArray[np.float64], positions: int, scale: Scale) -> tuple[NDArray[np.float64], Any]:
    """Return what the colours stand for, and how it is normed to 0..1. 1 is attention as if uniform over positions."""
    import numpy as np
    from matplotlib.colors import LogNorm, Normalize

    positive = values > 0
    if scale == "rank":
        # Equal attention is equal colour. Counting the positions with less keeps a plain background faint.
        ordered = np.sort(values[positive])
        less = np.searchsorted(ordered, values, side="left")
        most = int(less[positive].max(initial=0))
        shown = np.where(positive, less / most if most else 1.0, 0.0)
        return np.ma.masked_array(shown, ~positive), Normalize(0.0, 1.0)
    shown = np.ma.masked_array(values * positions, ~positive)
    top = float(shown.max()) if positive.any() else 1.0
    if scale == "log":
        low = max(float(shown.min()) if positive.any() else top, top * LOG_RANGE)
        # Uniform attention has no range; give it one, so that it is shown as the highest.
        return shown, LogNorm(min(low, top / 10), top, clip=True)
    return shown, Normalize(0.0, top)
