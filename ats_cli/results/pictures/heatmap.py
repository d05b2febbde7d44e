"""The heatmap: attention over the slide's low-resolution view, both in level-0 coordinates, as a PNG.

The picture is laid out in whole pixels: slide and attention share one pair of axes, so that they are aligned by
construction, whatever the pitch of the positions and the downsample of the view.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ats_cli.errors import AtsError
from ats_cli.records import PICTURE_SOFTWARE, AttentionMap
from ats_cli.results.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Scale = Literal["linear", "log", "rank"]

DPI = 100
LOG_RANGE = 1e-3  # on the log scale, attention below this share of the highest has one colour
LABELS = {
    "linear": "attention / uniform",
    "log": "attention / uniform (log scale)",
    "rank": "rank of attention (1 is the highest)",
}


@dataclass(frozen=True)
class HeatmapOptions:
    """How a heatmap is drawn.

    scale: how attention becomes colour. alpha: opacity of the highest attention. colormap: one of matplotlib's.
    max_size: the longer side of the slide in the picture, in pixels.
    """

    scale: Scale = "linear"
    alpha: float = 0.6
    colormap: str = "turbo"
    max_size: int = 1600


def write_heatmap(
    path: Path,
    view: NDArray[np.uint8] | None,
    view_downsample: float,
    attention: AttentionMap,
    slide_size: tuple[int, int],
    mpp: float | None,
    options: HeatmapOptions | None = None,
    title: str = "",
) -> None:
    """Write the heatmap of a slide to a PNG file; an existing one is replaced whole or not at all.

    `view`: (rows, cols, 3) uint8, pixel (r, c) covers the square of `view_downsample` level-0 pixels a side whose top
    left is (c, r) * view_downsample; None for the attention alone. `slide_size`: (width, height) in level-0 pixels.
    `mpp`: microns per level-0 pixel, for the scale bar; None gives a scale bar in pixels. Positions without attention
    are transparent.

    AtsError for a colormap that does not exist, OSError if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable

    options = options or HeatmapOptions()
    cmap, max_size = check_colormap(options.colormap), options.max_size
    width, height = slide_size
    figure, axes, bar_axes, unit = _layout(width, height, max_size)
    FigureCanvasAgg(figure)

    if view is not None:
        rows, cols = view.shape[:2]
        axes.imshow(view, extent=(0, cols * view_downsample, rows * view_downsample, 0), interpolation="antialiased")
    values, pitch = _coarsened(attention, max(width, height) / max_size)
    shown, norm = _scaled(values, attention.positions, options.scale)
    strength = norm(shown).filled(0.0).clip(0.0, 1.0)
    colours = cmap(strength)
    # Over a slide, faint attention is faint colour too, so that tissue stays visible.
    colours[..., 3] = options.alpha * strength**0.5 if view is not None else 1.0
    colours[values <= 0, 3] = 0.0
    rows, cols = values.shape
    axes.imshow(colours, extent=(0, cols * pitch, rows * pitch, 0), interpolation="nearest")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="auto")

    bar = figure.colorbar(ScalarMappable(norm, cmap), cax=bar_axes, format="%g")
    bar.set_label(LABELS[options.scale], fontsize=unit * 72 / DPI)
    bar_axes.tick_params(labelsize=unit * 72 / DPI * 0.9)
    _title(figure, axes, title, unit)
    _scale_bar(figure, axes, width, mpp, unit)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": PICTURE_SOFTWARE})
    write_whole(path, picture.getvalue())


def check_colormap(name: str) -> Any:
    """Return the matplotlib colormap of that name. AtsError, naming near ones, where there is none."""
    import matplotlib

    if name in matplotlib.colormaps:
        return matplotlib.colormaps[name]
    near = get_close_matches(name, list(matplotlib.colormaps), n=3) or ["turbo", "viridis", "magma"]
    raise AtsError(f"there is no colormap {name!r}. Near ones: {', '.join(near)}.")


def _layout(width: int, height: int, max_size: int) -> tuple[Figure, Axes, Axes, float]:
    """Place the slide, its margins and the colour bar on a grid of whole pixels.

    Returns the figure, the axes of the slide and of the colour bar, and the height of the text in pixels.
    """
    from matplotlib.figure import Figure

    zoom = max_size / max(width, height)
    image_w, image_h = max(1, round(width * zoom)), max(1, round(height * zoom))
    unit = min(max(max_size / 60, 9), 28)
    # A slide that is a thin strip still needs room for a title, a scale bar and a colour bar.
    inner_w, inner_h = max(image_w, round(16 * unit)), max(image_h, round(18 * unit))
    margin, above, below, right = round(unit), round(2.6 * unit), round(3.4 * unit), round(7 * unit)
    total_w, total_h = margin + inner_w + right, above + inner_h + below
    figure = Figure(figsize=(total_w / DPI, total_h / DPI), dpi=DPI, facecolor="white")

    def place(x: int, y: int, w: int, h: int) -> Axes:
        return figure.add_axes((x / total_w, 1 - (y + h) / total_h, w / total_w, h / total_h))

    axes = place(margin, above + (inner_h - image_h) // 2, image_w, image_h)
    axes.set_axis_off()
    bar = place(margin + inner_w + margin, above, round(0.9 * unit), inner_h)
    return figure, axes, bar, unit


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
        # Equal attention is equal colour: the rank is the share of positions with less, or as much, attention.
        ordered = np.sort(values[positive])
        shown = np.where(positive, np.searchsorted(ordered, values, side="right") / max(len(ordered), 1), 0.0)
        return np.ma.masked_array(shown, ~positive), Normalize(0.0, 1.0)
    shown = np.ma.masked_array(values * positions, ~positive)
    top = float(shown.max()) if positive.any() else 1.0
    if scale == "log":
        low = max(float(shown.min()) if positive.any() else top, top * LOG_RANGE)
        # Uniform attention has no range; give it one, so that it is shown as the highest.
        return shown, LogNorm(min(low, top / 10), top, clip=True)
    return shown, Normalize(0.0, top)


def _title(figure: Figure, axes: Axes, title: str, unit: float) -> None:
    # Long slide ids are cut in the middle: their beginnings and ends tell them apart.
    room = int(figure.get_figwidth() * DPI / unit / 0.7)
    if len(title) > room:
        title = f"{title[: room // 2 - 1]}…{title[-room // 2 + 1 :]}"
    y = 1 - 0.8 * unit / (figure.get_figheight() * DPI)
    figure.text(axes.get_position().x0, y, title, fontsize=unit * 72 / DPI, va="top", parse_math=False)


def _scale_bar(figure: Figure, axes: Axes, width: int, mpp: float | None, unit: float) -> None:
    """Draw a scale bar of a round length below the slide, where it hides nothing and any background is white."""
    from matplotlib.lines import Line2D

    left, bottom, right, _ = axes.get_position().extents
    size, unit_name = round_length(width * mpp / 4, "µm") if mpp is not None else round_length(width / 4, "px")
    in_pixels = size * (1000 if unit_name == "mm" else 1) / (mpp or 1)
    length = (right - left) * in_pixels / width
    total_h = figure.get_figheight() * DPI
    y = bottom - 0.8 * unit / total_h
    line = Line2D([left, left + length], [y, y], color="black", linewidth=0.25 * unit * 72 / DPI, solid_capstyle="butt")
    figure.add_artist(line)
    figure.text(left, y - 0.5 * unit / total_h, f"{size:g} {unit_name}", fontsize=unit * 72 / DPI, va="top")


def round_length(most: float, unit: str) -> tuple[float, str]:
    """Return the longest 1-2-5 length that is at most `most`, and its unit: millimetres from 1000 µm on.

    >>> round_length(430, "µm")
    (200.0, 'µm')
    >>> round_length(5600, "µm")
    (5.0, 'mm')
    """
    import math

    power = 10.0 ** math.floor(math.log10(most))
    size = next(step * power for step in (5, 2, 1) if step * power <= most * (1 + 1e-9))
    return (size / 1000, "mm") if unit == "µm" and size >= 1000 else (size, unit)
