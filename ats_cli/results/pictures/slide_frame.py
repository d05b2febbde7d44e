"""A slide in a picture: its view with margins, a colour bar, a title, a note and a scale bar, in whole pixels.

What is drawn over the slide shares its axes, in level-0 pixels, so it is aligned by construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ats_cli.records import PICTURE_SOFTWARE
from ats_cli.results.files import write_whole
from ats_cli.results.pictures.fonts import families

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

DPI = 100


@dataclass(frozen=True)
class SlideFrame:
    """What surrounds a map in a picture.

    size: (width, height) of the slide in level-0 pixels. view: (rows, cols, 3) uint8, pixel (r, c) covers the square of
    `view_downsample` level-0 pixels a side whose top left is (c, r) * view_downsample; None for the map alone.
    mpp: microns per level-0 pixel, for the scale bar; None gives a scale bar in pixels. name, answer: text above. note:
    text below. tiles: (n, 4) boxes in level-0 pixels that are outlined.
    """

    size: tuple[int, int]
    view: NDArray[np.uint8] | None = None
    view_downsample: float = 1.0
    mpp: float | None = None
    name: str = ""
    answer: str = ""
    note: str = ""
    tiles: NDArray[np.float64] | None = None


class FramedPicture:
    """A figure with the view of a slide. `axes`: of the slide, in level-0 pixels."""

    def __init__(self, frame: SlideFrame, max_size: int) -> None:
        """`max_size`: the longer side of the slide in the picture, in pixels."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        width, height = frame.size
        self._frame = frame
        self._figure, self.axes, self._bar_axes, self._unit = _layout(width, height, max_size)
        FigureCanvasAgg(self._figure)
        if frame.view is not None:
            rows, cols = frame.view.shape[:2]
            extent = (0, cols * frame.view_downsample, rows * frame.view_downsample, 0)
            self.axes.imshow(frame.view, extent=extent, interpolation="antialiased")
        self.axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="auto")

    @property
    def _points(self) -> float:
        """The size of the text."""
        return self._unit * 72 / DPI

    def color_bar(self, norm: Any, colormap: Any, label: str) -> None:
        """Draw the bar of colours beside the slide."""
        from matplotlib.cm import ScalarMappable

        bar = self._figure.colorbar(ScalarMappable(norm, colormap), cax=self._bar_axes, format="%g")
        bar.set_label(label, fontsize=self._points, parse_math=False, family=families(label))
        self._bar_axes.tick_params(labelsize=self._points * 0.9)

    def save(self, path: Path) -> None:
        """Write the picture as PNG; an existing file is replaced whole or not at all. Raises OSError."""
        write_whole(path, self.png())

    def png(self) -> bytes:
        """Complete the picture, which happens once, and return it as PNG."""
        frame, figure = self._frame, self._figure
        width, height = frame.size
        if frame.tiles is not None:
            self._outline_tiles(frame.tiles)
        self.axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="auto")
        _title(figure, self.axes, frame.name, frame.answer, self._unit)
        _scale_bar(figure, self.axes, width, frame.mpp, self._unit)
        _note(figure, self.axes, frame.note, self._unit)
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=DPI, metadata={"Software": PICTURE_SOFTWARE})
        return picture.getvalue()

    def _outline_tiles(self, tiles: NDArray[np.float64]) -> None:
        """Draw a thin black line around each tile, with a white one around it, so that it is visible anywhere."""
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Rectangle

        boxes = [Rectangle((x, y), width, height) for x, y, width, height in tiles.tolist()]
        line = max(0.6, self._points / 18)
        for color, thickness in (("white", 2.4 * line), ("black", line)):
            self.axes.add_collection(PatchCollection(boxes, facecolor="none", edgecolor=color, linewidth=thickness))


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
    margin, above, below, right = round(unit), round(3.8 * unit), round(7.4 * unit), round(7 * unit)
    total_w, total_h = margin + inner_w + right, above + inner_h + below
    figure = Figure(figsize=(total_w / DPI, total_h / DPI), dpi=DPI, facecolor="white")

    def place(x: int, y: int, w: int, h: int) -> Axes:
        return figure.add_axes((x / total_w, 1 - (y + h) / total_h, w / total_w, h / total_h))

    axes = place(margin, above + (inner_h - image_h) // 2, image_w, image_h)
    axes.set_axis_off()
    bar = place(margin + inner_w + margin, above, round(0.9 * unit), inner_h)
    return figure, axes, bar, unit


def _title(figure: Figure, axes: Axes, name: str, answer: str, unit: float) -> None:
    """Write the slide's name and, below it, its answer, which is never cut."""
    room = int(figure.get_figwidth() * DPI / unit / 0.7)
    if len(name) > room:  # beginnings and ends of long ids tell them apart
        name = f"{name[: room // 2 - 1]}…{name[-room // 2 + 1 :]}"
    x, height = axes.get_position().x0, figure.get_figheight() * DPI
    for text, top, size in ((name, 0.6, 1.0), (answer, 2.1, 0.9)):
        points = size * unit * 72 / DPI
        figure.text(
            x, 1 - top * unit / height, text, fontsize=points, va="top", parse_math=False, family=families(text)
        )


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
    power = 10.0 ** math.floor(math.log10(most))
    size = next(step * power for step in (5, 2, 1) if step * power <= most * (1 + 1e-9))
    return (size / 1000, "mm") if unit == "µm" and size >= 1000 else (size, unit)


def _note(figure: Figure, axes: Axes, note: str, unit: float) -> None:
    """Write the note at the bottom, in as many lines as it needs of the width."""
    import textwrap

    columns = max(20, int(figure.get_figwidth() * DPI / unit / 0.5))
    text = "\n".join(textwrap.wrap(note, columns)[:4])
    left = axes.get_position().x0
    bottom = 0.4 * unit / (figure.get_figheight() * DPI)
    figure.text(left, bottom, text, fontsize=unit * 72 / DPI * 0.8, va="bottom", color="#444444", family=families(note))
