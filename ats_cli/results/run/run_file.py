"""run.json: the settings, model and slides of a run. Every value is checked when it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, get_args

from ats_cli.errors import AtsError
from ats_cli.records import SCHEMA_VERSION
from ats_cli.registry import EXHAUSTIVE
from ats_cli.results.files import refuse_dangling_link
from ats_cli.results.groups import GroupBy, Weights
from ats_cli.results.record import finite_json

RUN = "run.json"


class RunSlide(NamedTuple):
    """A slide of a run.

    path: absolute. mpp: microns per pixel given by hand. group: its group. roi, roi_content: the absolute path of the
    file of its regions, and a hash of its content. None for what was not given.
    """

    slide_id: str
    path: str
    mpp: float | None = None
    group: str | None = None
    roi: str | None = None
    roi_content: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the row of run.json; without regions for a slide that has none."""
        return {key: value for key, value in self._asdict().items() if value is not None or not key.startswith("roi")}


def read_run(path: Path) -> dict[str, Any] | None:
    """Return the content of run.json; None if the folder is empty or missing. Raises AtsError for anything else."""
    refuse_dangling_link(path)
    file = path / RUN
    if path.exists() and not path.is_dir():
        raise AtsError(f"{path}: is a file. Give -o a folder.")
    if not file.is_file():
        if path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
            raise AtsError(f"{path}: holds other things than a run. Give -o an empty or a new folder.")
        return None
    try:
        run = finite_json(file.read_bytes())
        known = _is_run(run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise AtsError(f"{file}: not a run that this ats can read. Give -o another folder.")
    assert isinstance(run, dict)
    return run


def _is_run(run: Any) -> bool:
    """Whether all values of a run have the right type. KeyError, TypeError and others also mean that they have not."""
    settings, model = run["settings"], run["model"]
    group_by, process = run.get("group_by"), run.get("process")
    number, _, parts = str(run.get("shard") or "1/1").partition("/")
    return (
        run["schema_version"] == SCHEMA_VERSION
        and isinstance(settings, dict)
        and isinstance(settings["tiles"], type(None) if settings["sampler"] == EXHAUSTIVE else int)
        and isinstance(settings["sampler"], str)
        and all(isinstance(model[name], str) for name in ("name", "hash", "folder"))
        and all(_is_slide(RunSlide(**slide)) for slide in run["slides"])
        and (group_by is None or (isinstance(group_by["column"], str) and group_by["weights"] in get_args(Weights)))
        and (group_by is None or GroupBy(**group_by) is not None)
        and (process is None or {"pid", "host"} <= process.keys())
        and 1 <= int(number) <= int(parts)
    )


def _is_slide(slide: RunSlide) -> bool:
    return (
        isinstance(slide.slide_id, str)
        and isinstance(slide.path, str)
        and (slide.mpp is None or (isinstance(slide.mpp, int | float) and slide.mpp > 0))
        and all(isinstance(text, str | None) for text in (slide.group, slide.roi, slide.roi_content))
    )
