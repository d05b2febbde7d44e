"""What is drawn: one slide, by all that decides its bytes. The same case is the same file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hypothesis import strategies as st

LOSSLESS = ("none", "lzw", "deflate", "zstd")
MOST_SIDE = 640


@dataclass(frozen=True)
class Case:
    """One slide. `width`, `height`: of level 0 as stored, before turning.

    `tile`: width and height of the file's tiles; (0, rows) for strips. `downsamples`: of the levels below the first;
    `rounding`: of their sizes, "floor" or "ceil". `layout`: how samples make a colour. `subsampling`: of JPEG's chroma.
    `restart`: blocks between restart markers of JPEG, 0 for none. `sparse`: which tiles are left out: "none"; "lower",
    of the lower levels alone; "all", a part of the slide at every level. `background`: what the file says of
    what is left out, where it does. `channels`: what the file says of three
    planes. `variant`: what else a container offers, see `writers`. `detail`: "colours" for a picture whose hue changes
    within a few pixels, as the chroma of a JPEG must show. `seed`: of the picture.
    """

    container: str
    width: int
    height: int
    tile: tuple[int, int] = (64, 64)
    codec: str = "none"
    layout: str = "rgb"
    downsamples: tuple[float, ...] = ()
    rounding: str = "floor"
    subsampling: tuple[int, int] = (1, 1)
    restart: int = 0
    sparse: str = "none"
    background: int = 255
    orientation: int = 1
    channels: str = ""
    variant: str = ""
    detail: str = ""
    seed: int = 0

    @property
    def lossy(self) -> bool:
        return self.codec.startswith("jpeg-") or self.codec == "webp-lossy"

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def case_from_json(text: str) -> Case:
    fields = json.loads(text)
    return Case(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})


@dataclass(frozen=True)
class Offer:
    """What is drawn for one container: layouts, each with the codecs that its writer has for it."""

    layouts: dict[str, tuple[str, ...]]
    variants: tuple[str, ...] = ("",)
    tile_step: int = 16
    pyramid: bool = True
    sparse: tuple[str, ...] = ("none",)
    turned: bool = False
    strips: bool = False


_TIFF_CODECS = (*LOSSLESS, "jpeg2000", "webp", "webp-lossy", "jpeg-rgb", "jpeg-ycbcr")
_TIFF_LAYOUTS = {
    "rgb": _TIFF_CODECS,
    "grey": (*LOSSLESS, "jpeg2000", "jpeg-grey"),
    "white-is-zero": LOSSLESS,
    "planar": (*LOSSLESS, "jpeg2000"),
    "rgba": (*LOSSLESS, "webp"),
    "rgb-and-infrared": LOSSLESS,
    "three-of-grey": LOSSLESS,
    "palette": LOSSLESS,
}
_EVERY_SPARSE = ("none", "lower", "all")

OFFERS = {
    # Levels as pages or as SubIFDs, little-endian or big.
    "tiff": Offer(_TIFF_LAYOUTS, ("", "subifds", "big-endian"), sparse=_EVERY_SPARSE, turned=True, strips=True),
    "svs": Offer(
        {"rgb": ("jpeg-rgb", "jpeg-ycbcr", "lzw", "none"), "grey": ("jpeg-grey", "lzw")}, sparse=_EVERY_SPARSE
    ),
    "ome-tiff": Offer(
        {
            "rgb": _TIFF_CODECS,
            "grey": (*LOSSLESS, "jpeg2000", "jpeg-grey"),
            "planes": LOSSLESS,
            "planar": LOSSLESS,
            "rgb-and-infrared": LOSSLESS,
        },
        sparse=_EVERY_SPARSE,
    ),
    "gdal": Offer(
        {
            "rgb": ("none", "lzw", "deflate", "zstd", "jpeg-rgb", "jpeg-ycbcr", "webp"),
            "grey": ("lzw", "jpeg-grey"),
            "planar": ("deflate", "jpeg-rgb"),
            "rgba": ("lzw",),
            "rgb-and-infrared": ("lzw", "jpeg-rgb"),
            "three-of-grey": ("lzw", "jpeg-rgb"),
        },
        sparse=("none", "all"),
    ),
    "dicom": Offer(
        {
            "rgb": ("none", "jpeg-rgb", "jpeg-ycbcr", "jpeg2000", "jpegls"),
            "grey": ("none", "jpeg-grey", "jpeg2000"),
            "planar": ("none",),
        },
        ("", "no table", "extended table"),
        sparse=_EVERY_SPARSE,
    ),
    "zarr": Offer(
        {"rgb": ("none", "zstd", "gzip", "blosc"), "grey": ("none", "zstd", "gzip"), "planes": ("none", "zstd")},
        ("v3", "v2", "v3 sharded", "v3 zip"),
        tile_step=1,
        sparse=_EVERY_SPARSE,
    ),
    "png": Offer(dict.fromkeys(("rgb", "grey", "rgba", "palette"), ("deflate",)), pyramid=False, turned=True),
    "jpeg": Offer({"rgb": ("jpeg-rgb", "jpeg-ycbcr"), "grey": ("jpeg-grey",)}, pyramid=False, turned=True),
    "jp2": Offer(
        dict.fromkeys(("rgb", "grey", "rgba", "rgb-and-infrared"), ("jpeg2000",)), ("pillow", "gdal"), pyramid=False
    ),
}


def _sides(tile: int) -> st.SearchStrategy[int]:
    """Just over and just under a whole number of tiles, odd, prime, and single rows."""
    near = st.builds(lambda n, more: n * tile + more, st.integers(1, 5), st.sampled_from([0, 1, 2, 3, 5, 7, 9, -1, -2]))
    odd = st.sampled_from([1, 2, 3, 13, 31, 97, 127, 257, 389, 509])
    sides: st.SearchStrategy[int] = st.one_of(near, near, near, odd, st.integers(1, 400))
    return sides.filter(lambda side: 1 <= side <= MOST_SIDE)


_PYRAMIDS: Sequence[tuple[float, ...]] = (
    (), (), (2,), (4,), (8,), (2, 4), (2, 4, 8), (4, 16), (2, 8), (8, 64), (3,), (2.5,), (1.5, 4.5), (2.5, 5),
)  # fmt: skip


@st.composite
def cases(draw: st.DrawFn, container: str | None = None) -> Case:
    """A case of one container, or of any."""
    container = draw(st.sampled_from(list(OFFERS))) if container is None else container
    offer = OFFERS[container]
    layout = draw(st.sampled_from([*offer.layouts, *(["rgb"] if "rgb" in offer.layouts else [])]))
    codecs = offer.layouts[layout]
    codec = draw(st.sampled_from([*codecs, *2 * [codec for codec in codecs if codec.startswith("jpeg-")]]))
    step = max(offer.tile_step, 16)
    tile = (draw(st.integers(1, 8)) * step, draw(st.integers(1, 8)) * step)
    if container == "zarr":
        tile = (draw(st.integers(16, 130)), draw(st.integers(16, 130)))
    if container == "gdal" or draw(st.booleans()):
        tile = (tile[0], tile[0])
    width, height = draw(_sides(tile[0])), draw(_sides(tile[1]))
    downsamples: tuple[float, ...] = ()
    if offer.pyramid and layout != "palette":
        drawn = draw(st.sampled_from([p for p in _PYRAMIDS if container != "gdal" or all(d % 1 == 0 for d in p)]))
        width, height = (_divisible(side, drawn) for side in (width, height))
        downsamples = tuple(d for d in drawn if certain(width, height, d))
    sparse = draw(st.sampled_from(offer.sparse)) if layout != "palette" else "none"
    if container == "gdal" and sparse == "all" and codec.startswith("jpeg-"):
        downsamples = ()  # GDAL builds them from black where tiles are left out, and JPEG spreads it beyond
    strips = offer.strips and codec in LOSSLESS and not downsamples and sparse == "none" and draw(st.booleans())
    more: dict[str, Any] = {}
    if codec == "jpeg-ycbcr":
        offered = [(2, 2)] if container == "gdal" else [(1, 1), (2, 1), (2, 1), (2, 2)]  # GDAL has no choice of it
        more["subsampling"] = draw(st.sampled_from(offered))
    if codec.startswith("jpeg-") and container != "gdal":
        more["restart"] = draw(st.sampled_from([0, 0, 2, 7]))
    if container == "zarr":
        more["background"] = draw(st.sampled_from([255, 0]))
    if layout == "planes":
        more["channels"] = draw(st.sampled_from(["", "colours", "fluorescence"]))
    return Case(
        container=container,
        width=width,
        height=height,
        tile=(0, tile[1]) if strips else tile,
        codec=codec,
        layout=layout,
        downsamples=downsamples,
        rounding=draw(st.sampled_from(["floor", "ceil"])),
        sparse=sparse,
        orientation=draw(st.sampled_from([1, 1, *range(1, 9)])) if offer.turned else 1,
        variant=draw(st.sampled_from(offer.variants)),
        detail=draw(st.sampled_from(["", "colours", "colours"] if codec == "jpeg-ycbcr" else ["", "colours"])),
        seed=draw(st.integers(0, 99)),
        **more,
    )


def _divisible(side: int, downsamples: tuple[float, ...]) -> int:
    """A side that downsamples which are not whole divide without a rest: no writer agrees with another of the rest."""
    by = 5 if 2.5 in downsamples else 9 if 4.5 in downsamples else 1
    return max(1, side // by) * by


def certain(width: int, height: int, downsample: float) -> bool:
    """Whether the sizes of two levels say, to whoever reads them, that one is `downsample` times the other."""
    sides = width / downsample, height / downsample
    return min(sides) >= 24 if downsample % 1 else max(sides) >= 24 and min(sides) >= 1
