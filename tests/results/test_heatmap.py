"""Heatmaps: attention and slide coincide to the pixel, and what is on disk is whole."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ats_cli.errors import AtsError
from ats_cli.records import AttentionMap
from ats_cli.results.pictures import heatmap
from ats_cli.results.pictures.heatmap import HeatmapOptions, Scale
from ats_cli.results.pictures.slide_frame import SlideFrame, round_length


def one_hot(rows: int, cols: int, row: int, col: int, pitch: float) -> AttentionMap:
    values = np.zeros((rows, cols))
    values[row, col] = 1.0
    return AttentionMap(values, pitch, rows * cols)


def write_heatmap(
    path: Path,
    view: NDArray[np.uint8] | None,
    downsample: float,
    attention: AttentionMap,
    size: tuple[int, int],
    mpp: float | None,
    options: HeatmapOptions,
    title: str = "",
) -> None:
    heatmap.write_heatmap(path, SlideFrame(size, view, downsample, mpp, title, title), attention, options)


def pixels(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(path).convert("RGB")).astype(np.int64)


def box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, cols = np.nonzero(mask)
    return int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1


@pytest.mark.integration
@pytest.mark.parametrize(
    ("width", "height", "pitch", "downsample", "row", "col"),
    [
        (1000, 700, 50.0, 2.0, 3, 11),
        (1013, 701, 37.3, 3.7, 18, 0),
        (4443, 3567, 128.0, 11.1, 0, 34),
        (333, 2001, 64.5, 8.1, 30, 5),
        (40_001, 30_003, 1777.7, 66.7, 16, 22),
    ],
)
def test_the_hot_position_lies_where_the_slide_is_bright(
    tmp_path: Path, width: int, height: int, pitch: float, downsample: float, row: int, col: int
) -> None:
    rows, cols = int(-(-height // pitch)), int(-(-width // pitch))
    view = np.zeros((int(-(-height // downsample)), int(-(-width // downsample)), 3), np.uint8)
    edges = [round(edge * pitch / downsample) for edge in (row, row + 1, col, col + 1)]
    view[edges[0] : edges[1], edges[2] : edges[3]] = (0, 255, 0)
    size, most = (width, height), 600
    hot = one_hot(rows, cols, row, col, pitch)
    write_heatmap(tmp_path / "slide.png", view, downsample, hot, size, 0.5, HeatmapOptions(alpha=0.0, max_size=most))
    write_heatmap(tmp_path / "both.png", view, downsample, hot, size, 0.5, HeatmapOptions(alpha=1.0, max_size=most))
    view[:] = (0, 0, 255)
    write_heatmap(tmp_path / "frame.png", view, downsample, hot, size, 0.5, HeatmapOptions(alpha=0.0, max_size=most))
    slide, both, frame = (pixels(tmp_path / f"{name}.png") for name in ("slide", "both", "frame"))

    left, top, right, bottom = box((frame == (0, 0, 255)).all(axis=2))
    slide, both = slide[top:bottom, left:right], both[top:bottom, left:right]

    bright = box(slide[..., 1] > 127)
    hottest = box(np.abs(slide - both).sum(axis=2) > 150)
    expected = np.minimum(np.array([col, row, col + 1, row + 1]) * pitch, [width, height] * 2) * most / max(size)
    assert np.abs(hottest - expected).max() <= 1
    # The view's own pixels are a grid of their own: the square in it lies within half of one of them.
    assert np.abs(np.subtract(bright, hottest)).max() <= 1 + 0.5 * downsample * most / max(size)


@pytest.mark.integration
@pytest.mark.parametrize("size", [(1000, 700), (700, 1000), (5000, 30), (30, 5000), (28, 28)])
def test_the_slide_is_as_large_as_asked(tmp_path: Path, size: tuple[int, int]) -> None:
    view = np.zeros((size[1], size[0], 3), np.uint8)
    view[..., 2] = 255
    write_heatmap(
        tmp_path / "a.png", view, 1.0, one_hot(1, 1, 0, 0, 1e5), size, None, HeatmapOptions(alpha=0.0, max_size=500)
    )
    got = box((pixels(tmp_path / "a.png") == (0, 0, 255)).all(axis=2))
    zoom = 500 / max(size)
    assert (got[2] - got[0], got[3] - got[1]) == (round(size[0] * zoom), round(size[1] * zoom))


@pytest.mark.integration
def test_a_single_hot_position_is_seen_however_small(tmp_path: Path) -> None:
    attention = one_hot(3000, 4000, 1234, 2345, 1.0)
    view = np.full((300, 400, 3), 255, np.uint8)
    write_heatmap(tmp_path / "a.png", view, 10.0, attention, (4000, 3000), 1.0, HeatmapOptions(alpha=0.0, max_size=400))
    write_heatmap(tmp_path / "b.png", view, 10.0, attention, (4000, 3000), 1.0, HeatmapOptions(alpha=1.0, max_size=400))
    assert np.abs(pixels(tmp_path / "a.png") - pixels(tmp_path / "b.png")).sum() > 255


@pytest.mark.integration
@pytest.mark.parametrize("scale", ["linear", "log", "rank"])
@pytest.mark.parametrize("kind", ["uniform", "peaked", "none"])
def test_any_attention_can_be_drawn(tmp_path: Path, scale: Scale, kind: str) -> None:
    values = {"uniform": np.full((7, 9), 1 / 63), "peaked": np.logspace(-300, 0, 63).reshape(7, 9)}
    attention = AttentionMap(values.get(kind, np.zeros((7, 9))), 4.0, 63)
    write_heatmap(
        tmp_path / "a.png",
        None,
        1.0,
        attention,
        (35, 27),
        None,
        HeatmapOptions(scale=scale, max_size=200),
        title="a $x$ [b]",
    )
    assert pixels(tmp_path / "a.png").shape[2] == 3


def test_a_picture_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"old")

    write_bytes = Path.write_bytes

    def broken(file: Path, content: bytes) -> int:
        write_bytes(file, content[: len(content) // 2])
        raise OSError(28, "No space left on device", str(file))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(Path, "write_bytes", broken)
        write_heatmap(picture, None, 1.0, one_hot(2, 2, 0, 0, 10), (20, 20), None, HeatmapOptions(max_size=100))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert picture.read_bytes() == b"old"
    write_heatmap(picture, None, 1.0, one_hot(2, 2, 0, 0, 10), (20, 20), None, HeatmapOptions(max_size=100))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_colormap_is_answered_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(AtsError, match="viridis"):
        write_heatmap(
            tmp_path / "a.png", None, 1.0, one_hot(2, 2, 0, 0, 1), (2, 2), None, HeatmapOptions(colormap="virdis")
        )


@pytest.mark.parametrize(
    ("most", "expected"),
    [(430, (200.0, "µm")), (999, (500.0, "µm")), (1000, (1.0, "mm")), (5600, (5.0, "mm")), (0.3, (0.2, "µm"))],
)
def test_scale_bars_are_round(most: float, expected: tuple[float, str]) -> None:
    assert round_length(most, "µm") == pytest.approx(expected)
    assert round_length(12345, "px") == (10000.0, "px")
