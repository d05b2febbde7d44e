"""Options of a training, in frozen records: slides, recipe, computation, callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ats_cli.plain_options import check_device, check_precision, make_plain
from ats_cli.slides.options import OpenOptions, RegionOptions

if TYPE_CHECKING:
    from ats_cli.training.train import TrainingProgress

DEFAULT_RECIPE = "tissue"


def _ignore(_: object) -> None: ...


@dataclass(frozen=True)
class DataOptions:
    """The labelled slides, and how they are split.

    `folder`: one subfolder a class; or `manifest`: a CSV with columns slide and label, whose relative paths are in
    `slides_root` (default: beside the manifest). `mpp`: microns per pixel of slides without a scale. `roi`: a GeoJSON
    file of regions, or a folder with one file a slide; regions in the manifest take precedence. `region_options`: how
    these files are read. `opening`: how all slides are opened. `validation`: the fraction of slides held out.
    `folds`: 0, or the number of folds to cross-validate in first. `skip_bad`: leave out unreadable slides; without it
    they are an error. `na`: as of `read_manifest`.
    """

    folder: Path | None = None
    manifest: Path | None = None
    slides_root: Path | None = None
    mpp: float | None = None
    roi: Path | None = None
    region_options: RegionOptions = RegionOptions()
    opening: OpenOptions = OpenOptions()
    validation: float = 0.2
    folds: int = 0
    skip_bad: bool = False
    na: str = "auto"

    def __post_init__(self) -> None:
        make_plain(self, ("folds",), ("mpp", "validation"))


@dataclass(frozen=True)
class RecipeOptions:
    """The model to build and its hyperparameters.

    `recipe`: a shipped name, a model folder or a .toml file; default: that of `init`, else DEFAULT_RECIPE. `init`: a
    model whose weights are taken where name and shape match. `name`: the model's name; default: the output folder's.
    `overrides`: training keys of the recipe to replace (None values are ignored), `tiles`, `task`, `attention_net` (the
    attention's `net`), and of the features `net` and `pretrained`. `epochs`, instead of steps: how many times each
    slide is used.
    """

    recipe: str | None = None
    init: str | None = None
    name: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict, hash=False)
    epochs: float | None = None

    def __post_init__(self) -> None:
        make_plain(self, (), ("epochs",))
        # Numbers of numpy have `item`.
        plain = {name: value.item() if hasattr(value, "item") else value for name, value in self.overrides.items()}
        object.__setattr__(self, "overrides", plain)


@dataclass(frozen=True)
class TrainOptions:
    """The computation: of these, only `seed`, `precision` and `choose_best` change more than the weights' last digits.

    `devices`: processes that share each batch. `precision`: "fp32", "bf16" or "fp16", of the feature network.
    `threads`: for reading. `memory`, `disk`: bytes of cached views.
    `checkpoint_every`: steps. `resume`: continue from the last checkpoint, if there is one. `choose_best`: return the
    weights of the lowest validation loss; without it the last ones, so that validation figures are unbiased.
    """

    seed: int = 0
    device: str = "cpu"
    devices: int = 1
    precision: str = "fp32"
    threads: int = 4
    memory: int = 500_000_000
    disk: int = 10_000_000_000
    checkpoint_every: int = 50
    resume: bool = False
    choose_best: bool = True

    def __post_init__(self) -> None:
        make_plain(self, ("seed", "devices", "threads", "memory", "disk", "checkpoint_every"))
        check_device(self.device, auto=False)
        check_precision(self.precision, auto=False)


@dataclass(frozen=True)
class Callbacks:
    """Functions that a training calls. `on_progress`: after each step. `on_message`: with a sentence for the user."""

    on_progress: Callable[[TrainingProgress], None] = _ignore
    on_message: Callable[[str], None] = _ignore
