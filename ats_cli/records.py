"""Plain frozen records that packages pass to each other. No torch, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ats_cli.errors import Failure
from ats_cli.prediction_parts import NOT_WRITTEN, Comparison, Cost, ModelName, Provenance, Sampling, csv
from ats_cli.training_spec import TrainingSpec as TrainingSpec
from ats_cli.training_spec import WarmupSpec as WarmupSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

SCHEMA_VERSION = 1

DEFAULT_TASK = "multi-class"
"""The task of a recipe or a record that names none; `ats_cli.registry.TASKS` has all."""

COLOR_PROFILES = ("none", "srgb")

PICTURE_SOFTWARE = "ats, attention sampling"
"""What pictures that are written name as their software, so that they are not taken for slides."""

NOMINAL_SCALE = "objective power"
"""The `mpp_source` of a slide without microns per pixel, taken from its objective's power."""

MAX_UNREADABLE = 0.05
"""The default share of a slide's attention that may be unreadable."""


# What a model is. These are the tables of model.toml; `zoo` validates them.


@dataclass(frozen=True)
class AttentionSpec:
    """The attention network and its view. `net`: a name in ATTENTION_NETWORKS.

    `scale` is the resolution of the low-resolution view: microns per pixel (unit "um") or level-0 pixels per
    pixel (unit "px"). A position covers `stride` x `stride` pixels of that view. `blocks`: stages of a pretrained
    trunk. `mean` and `std` normalise the view; empty: as the network's weights want it, else as the model. `trunk`:
    "NAME:HASH" of the weights that ship with ats and that the model's file therefore leaves out; empty: none.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 (read by pydantic, shared on purpose)

    scale: float
    channels: tuple[int, ...] = (8, 8)
    stride: int = 1
    prior: Literal["bright", "dense", "none"] = "none"
    prior_strength: float = 5.0
    prior_saturation: float = 0.3
    tissue_only: bool = False
    net: str = "cnn"
    blocks: int = 3
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    trunk: str = ""


@dataclass(frozen=True)
class FeatureSpec:
    """The feature net and the patches it reads: `patch_size` pixels a side at `scale` (units as for attention).

    `pretrained`: where the weights that training begins with come from; empty: they are random. `mean` and `std`
    normalise the patches; empty: as the net's weights want it, else as the model. `options` are given to timm with the
    net's name. `hidden`: features of a trainable layer on the net's output; 0: none. `trunk`: as of the attention.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    scale: float
    patch_size: int
    net: str = "cnn"
    channels: tuple[int, ...] = (16, 32, 64, 32)
    pretrained: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    hidden: int = 0
    trunk: str = ""


@dataclass(frozen=True)
class HeadSpec:
    """What pools the features. `gate`: hidden units of a gate on the features, see `nets.gate`; 0: none."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    gate: int = 0


@dataclass(frozen=True)
class ModelSpec:
    """The content of model.toml: all of a model except its weights.

    `mean` and `std` normalise the colours (0 to 1) of the view and of the patches alike. `background` is the grey
    (0 to 255) of pixels beyond the slide's edge. `notice` is printed when the model is used.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    name: str
    unit: Literal["um", "px"]
    attention: AttentionSpec
    features: FeatureSpec
    head: HeadSpec = field(default_factory=HeadSpec)
    task: str = DEFAULT_TASK
    classes: tuple[str, ...] = ()
    tiles: int = 10
    head_scale: float = 5.0
    background: int = 255
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    description: str = ""
    notice: str = ""
    licence: str = ""
    schema_version: int = SCHEMA_VERSION
    training: TrainingSpec = field(default_factory=TrainingSpec)


# What the prediction of a slide gives.


@dataclass(frozen=True)
class AttentionMap:
    """The attention over a slide's positions. `positions`: how many of them can be drawn.

    `values`: (rows, cols) float64, non-negative, sums to 1; 0 where a position is off the tissue.
    `pitch`: side of a position in level-0 pixels; position (row, col) covers the square
    [col * pitch, (col + 1) * pitch) x [row * pitch, (row + 1) * pitch) of the slide.
    """

    values: NDArray[np.float64]
    pitch: float
    positions: int


@dataclass(frozen=True)
class DrawnTile:
    """One tile that was read: its box in level-0 pixels, and its part in the answer.

    `weight`: in the estimate, with the gate in it. `gate`: how much the tile counts by its features; 1 without a gate.
    `probabilities` are the tile's own, softmax(W f + b). `shares` are its exact shares of the slide's class
    logits: they sum over the tiles to logit minus bias.
    """

    x: float
    y: float
    width: float
    height: float
    attention: float
    weight: float
    draws: int
    probabilities: tuple[float, ...]
    shares: tuple[float, ...]
    gate: float = 1.0


@dataclass(frozen=True)
class TilesRead:
    """All n tiles read of one slide as arrays, in the order of the draw. A longer draw can resume from them.

    positions: (n,) int64, row * cols + col on a `grid` of (rows, cols).
    attention, weights: (n,) float64, the weights of the estimate, with the gates in them. draws: (n,) int64.
    boxes: (n, 4) x, y, width, height in level-0 pixels.
    terms: (n, C), what each tile adds to the class logits at weight 1: logits = weights @ terms + bias.
    readable: (n,) bool. A tile that could not be read has weight and terms 0.
    log_z: for a race, log of the sum of exp(logit) over all positions: attention = exp(logit - log_z).
    features: (n, d) summaries of the tiles' features, for a model that computes slide embeddings.
    region: (rows, cols) bool, the positions from which tiles could be drawn; None in older runs.
    gate: (n,) of each tile; None for a model without a gate.
    term_range: (2, C), between which a tile's terms lie; None in older runs.
    """

    positions: NDArray[np.int64]
    attention: NDArray[np.float64]
    weights: NDArray[np.float64]
    draws: NDArray[np.int64]
    boxes: NDArray[np.float64]
    terms: NDArray[np.float64]
    readable: NDArray[np.bool_]
    bias: NDArray[np.float64]
    grid: tuple[int, int]
    log_z: float | None = None
    features: NDArray[np.float64] | None = None
    region: NDArray[np.bool_] | None = None
    gate: NDArray[np.float64] | None = None
    term_range: NDArray[np.float64] | None = None

    @property
    def gates(self) -> NDArray[np.float64]:
        """How much each tile counts, (n,): its gate, 1 without one, 0 for a tile that could not be read."""
        readable = self.readable.astype(float)
        return readable if self.gate is None else readable * self.gate


Need = Literal["tiles", "attention", "view", "patches", "features"]
"""What a writer is made from: `Prediction.tile_arrays`, or a field of `SlidePixels`."""


@dataclass(frozen=True)
class PixelRequest:
    """The fields of `SlidePixels` that writers need. view_size: pixels of the longer side of the view."""

    needs: frozenset[Need] = frozenset()
    view_size: int = 1600


NO_PIXELS = PixelRequest()


@dataclass(frozen=True)
class SlidePixels:
    """Pictures of a slide for the writers that need them.

    attention: the attention over all positions. view: (rows, cols, 3) uint8, the slide in low resolution; each of its
    pixels is `view_downsample` level-0 pixels a side. view_problem: why a part of it, left white, could not be read.
    patches: (p, p, 3) uint8 by the index of the tile in `TilesRead`, for the tiles to show as pictures; those that
    cannot be read any more are the colour of the background. features: (n, D), the feature network's output for each
    tile. patch_size: p.
    """

    attention: AttentionMap | None = None
    view: NDArray[np.uint8] | None = None
    view_downsample: float = 1.0
    view_problem: str | None = None
    patches: Mapping[int, NDArray[np.uint8]] | None = None
    features: NDArray[np.float32] | None = None
    patch_size: int = 0


class Fingerprint(NamedTuple):
    """Identifies a slide.

    content: size and samples of its files; equal for a copy.
    time: when it was written, or the version that a server gives it.
    """

    content: str
    time: str


class RegionsUsed(NamedTuple):
    """What a slide's regions were taken to mean.

    file: the name of their file.
    origin: where its coordinates begin; None for a slide without bounds, where there is no question.
    certain: False if the regions would lie on the slide with the other origin too.
    outside: how many of its polygons lie off the slide.
    """

    file: str
    origin: Literal["bounds", "level0"] | None
    certain: bool
    outside: int = 0


@dataclass(frozen=True)
class Prediction:
    """The result of one slide: the answer, and its parts. Each field is a column, as `prediction_parts` says.

    se, logits_se: standard errors of `probabilities` and `logits` by the sampling of tiles alone: how far they may be
    from those of the same networks over all positions.
    low, high: 95 % intervals of `probabilities` by the sampling of tiles, `low_value` and `high_value` of a number;
    right also where the answer rests on few tiles.
    task: with several labels, each has its own probability, and `predicted` joins those above one half with ";". A
    regression has a `value` and no probabilities.
    """

    slide_id: str = field(metadata=csv(10))
    path: str = field(metadata=csv(20))
    status: Literal["ok", "failed"] = field(metadata=csv(30))
    error: str | None = field(default=None, metadata=csv(200))
    failure: Failure | None = None
    predicted: str | None = field(default=None, metadata=csv(40))
    classes: tuple[str, ...] = ()
    probabilities: tuple[float, ...] | None = field(default=None, metadata=csv(50, "prob"))
    se: tuple[float, ...] | None = field(default=None, metadata=csv(60, "se"))
    low: tuple[float, ...] | None = field(default=None, metadata=csv(112, "low"))
    high: tuple[float, ...] | None = field(default=None, metadata=csv(114, "high"))
    logits: tuple[float, ...] | None = None
    logits_se: tuple[float, ...] | None = None
    se_kind: Literal["unbiased", "approximate", "nominal"] | None = field(default=None, metadata=csv(70))
    sampling: Sampling = field(default_factory=Sampling)
    cost: Cost = field(default_factory=Cost)
    provenance: Provenance = field(default_factory=Provenance)
    comparison: Comparison = field(default_factory=Comparison)
    model: ModelName | None = None
    task: str = DEFAULT_TASK
    value: float | None = field(default=None, metadata=csv(51))
    se_value: float | None = field(default=None, metadata=csv(61))
    low_value: float | None = field(default=None, metadata=csv(113))
    high_value: float | None = field(default=None, metadata=csv(115))
    drawn: tuple[DrawnTile, ...] = field(default=(), metadata=NOT_WRITTEN)
    tile_arrays: TilesRead | None = field(default=None, repr=False, compare=False, metadata=NOT_WRITTEN)
    pixels: SlidePixels | None = field(default=None, repr=False, compare=False, metadata=NOT_WRITTEN)
