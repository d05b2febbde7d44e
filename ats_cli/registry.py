"""Everything that can be extended, by kind: a name and where its member is defined.

A member is imported when it is first used, so names, help pages and checks of options cost nothing. To add one, write
its file and register it with one line below (or call `register`); docs/extending.md has an example of each kind.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from ats_cli.errors import AtsError
from ats_cli.records import AttentionSpec

if TYPE_CHECKING:
    from ats_cli.nets.attention import AttentionNetwork
    from ats_cli.nets.features import FeatureNetwork
    from ats_cli.results.writer import Writer
    from ats_cli.sampling.sampler import Sampler
    from ats_cli.slides.format import Format
    from ats_cli.tasks.task import Task

Member = TypeVar("Member")
_log = logging.getLogger(__name__)


class Registry(Generic[Member]):
    """Members of one kind by name, in the order in which they are listed to users.

    `members`: name -> "module:attribute". `entry_points`: the group under which other packages register members.
    """

    def __init__(self, kind: str, members: Mapping[str, str], entry_points: str | None = None) -> None:
        self.kind = kind
        self._members: dict[str, str | Member] = dict(members)
        self._entry_points = entry_points
        self._packages: dict[str, str] = {}
        self._broken: set[str] = set()

    def register(self, name: str, member: str | Member) -> None:
        """Add a member, or the "module:attribute" at which it is found. Replaces one of the same name."""
        self._members[name] = member

    def unregister(self, name: str) -> None:
        """Remove a member that `register` added."""
        del self._members[name]

    @property
    def names(self) -> tuple[str, ...]:
        self._load_entry_points()
        return tuple(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Member:
        """Return the member called `name`. Raises AtsError, with the nearest name, if there is none, and for a member
        of another package that cannot be imported."""
        self.check(name)
        member = self._members[name]
        if isinstance(member, str):
            module, _, attribute = member.partition(":")
            try:
                member = cast(Member, getattr(import_module(module), attribute))
            except Exception as error:
                if name not in self._packages:
                    raise
                raise AtsError(self._import_problem(name, error)) from error
            self._members[name] = member
        return member

    def importable(self, name: str) -> Member | None:
        """Return the member called `name`; None, with one warning in a process, where another package has it and it
        cannot be imported."""
        if name in self._broken:
            return None
        try:
            return self[name]
        except AtsError as error:
            self._broken.add(name)
            _log.warning("%s Until then it is left out.", error)
            return None

    def _import_problem(self, name: str, error: Exception) -> str:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300].rstrip(".")
        return (
            f"the {self.kind} {name!r} of the package {self._packages[name]} cannot be imported ({reason}). "
            "Mend, update or uninstall that package."
        )

    def check(self, name: str) -> str:
        """Return `name`. Raises AtsError, with the nearest name, if no member is called so."""
        if name not in self.names:
            nearest = difflib.get_close_matches(str(name).lower(), self.names, 1)
            advice = f"Did you mean {nearest[0]}?" if nearest else f"Choose one of {', '.join(self.names)}."
            raise AtsError(f"unknown {self.kind} {name!r}. {advice}")
        return name

    def _load_entry_points(self) -> None:
        if self._entry_points is None:
            return
        group, self._entry_points = self._entry_points, None
        for point in entry_points(group=group):
            if point.name not in self._members:
                self._members[point.name] = point.value
                self._packages[point.name] = point.dist.name if point.dist else point.module


SAMPLERS: Registry[Sampler] = Registry(
    "sampler",
    {
        "pivotal": "ats_cli.sampling.samplers.pivotal:SAMPLER",
        "systematic": "ats_cli.sampling.samplers.systematic:SAMPLER",
        "murthy": "ats_cli.sampling.samplers.murthy:SAMPLER",
        "without-replacement": "ats_cli.sampling.samplers.without_replacement:SAMPLER",
        "with-replacement": "ats_cli.sampling.samplers.with_replacement:SAMPLER",
    },
)

# Used where the call names none: by `ats predict`, in training, and where a draw must be nested.
DEFAULT_SAMPLER, TRAINING_SAMPLER, NESTED_SAMPLER = "pivotal", "systematic", "murthy"

# Stands for a sampler's name in settings and records where every position is read.
EXHAUSTIVE = "exhaustive"

# What a model learns to answer. `records.DEFAULT_TASK` is used where a recipe names none.
TASKS: Registry[Task] = Registry(
    "task",
    {
        "multi-class": "ats_cli.tasks.multi_class:TASK",
        "multi-label": "ats_cli.tasks.multi_label:TASK",
        "regression": "ats_cli.tasks.regression:TASK",
    },
)

# Each writes a file or folder of this name for every slide of a run, or for those of runs that ask for it.
WRITERS: Registry[Writer] = Registry(
    "output writer",
    {
        "draw.npz": "ats_cli.results.writers.draw_npz:WRITER",
        "tiles.csv": "ats_cli.results.writers.tiles_csv:WRITER",
        "tiles.geojson": "ats_cli.results.writers.tiles_geojson:WRITER",
        "heatmap.png": "ats_cli.results.writers.heatmap_png:ATTENTION",
        "evidence.png": "ats_cli.results.writers.heatmap_png:EVIDENCE",
        "tiles.h5": "ats_cli.results.writers.tiles_h5:WRITER",
        "tiles": "ats_cli.results.writers.tile_pictures:TILES",
        "contact-sheet.png": "ats_cli.results.writers.tile_pictures:SHEET",
        "attention.ome.tiff": "ats_cli.results.writers.attention_map:OME_TIFF",
        "attention-rgb.ome.tiff": "ats_cli.results.writers.attention_map:OME_TIFF_RGB",
        "attention.ome.zarr": "ats_cli.results.writers.attention_map:OME_ZARR",
        "attention-0.4.ome.zarr": "ats_cli.results.writers.attention_map:OME_ZARR_04",
        "report.html": "ats_cli.results.writers.slide_report:WRITER",
        "prediction.json": "ats_cli.results.writers.prediction_json:WRITER",
    },
)

# A slide's format is looked for from the last to the first, so a format that is added is asked before these.
FORMATS: Registry[Format] = Registry(
    "format",
    {
        "image": "ats_cli.slides.formats.image:FORMAT",
        "tiff": "ats_cli.slides.formats.tiff.format:FORMAT",
        "openslide": "ats_cli.slides.formats.openslide:FORMAT",
        "dicom": "ats_cli.slides.formats.dicom.format:FORMAT",
        "zarr": "ats_cli.slides.formats.zarr.format:FORMAT",
    },
    entry_points="ats_cli.formats",
)

# `attention.net` of a model.toml. The default, that of AttentionSpec, is left out of model files.
ATTENTION_NETWORKS: Registry[Callable[[AttentionSpec], AttentionNetwork]] = Registry(
    "attention network",
    {"cnn": "ats_cli.nets.attention_cnn:AttentionCNN", "lite0": "ats_cli.nets.attention_lite0:Lite0Attention"},
)

# `features.net` of a model.toml, before the colon.
FEATURE_NETWORKS: Registry[FeatureNetwork] = Registry(
    "feature network",
    {
        "cnn": "ats_cli.nets.feature_networks.cnn:NETWORK",
        "lite0": "ats_cli.nets.efficientnet_lite:NETWORK",
        "timm": "ats_cli.nets.feature_networks.timm_network:NETWORK",
    },
)
