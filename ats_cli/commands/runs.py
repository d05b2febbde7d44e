"""The run folder of a call: which one, with which slides, begun or gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ats_cli.records import AtsError, Prediction
from ats_cli.registry import NESTED_SAMPLER
from ats_cli.text import encodable, existing_path

if TYPE_CHECKING:
    from ats_cli.results.groups import GroupBy
    from ats_cli.results.run import RunFolder
    from ats_cli.slides import AnyPath, SlideSource
    from ats_cli.zoo import ModelFolder

NAMED = 5  # slides that are named in one message


def open_run(
    output: Path | None, asked: dict[str, Any], *, extend: bool, retry_failed: bool, overwrite: bool
) -> RunFolder | None:
    """The run folder of a call, if it names one. AtsError where options do not go together."""
    if output is None:
        for option, given in {"--extend": extend, "--retry-failed": retry_failed, "--overwrite": overwrite}.items():
            if given:
                raise AtsError(f"{option} is about a run folder. Name it with -o.")
        return None
    if extend and overwrite:
        raise AtsError("--extend goes on from a run and --overwrite starts it over. Leave one of them out.")
    if extend and "tiles" not in asked:
        raise AtsError("--extend needs the number of tiles to come to. Give --tiles.")

    from ats_cli.results.run import RunFolder

    run = RunFolder(output)
    if extend and not run.exists:
        raise AtsError(
            f"{output}: no run here to extend. Run it with --sampler {NESTED_SAMPLER} first, without --extend."
        )
    return run


def with_those_of(run: RunFolder, sources: list[SlideSource], mpp: float | None) -> list[SlideSource]:
    """The slides of a run, then those that are new to it. Where a slide was moved to, and its mpp, may be given.

    `mpp`: given for all of them.
    """
    from ats_cli.slides import SlideSource

    given = {source.slide_id: source for source in sources}
    old = []
    for name, path, before, group in run.slides.values():
        source = given.pop(name, None) or SlideSource(name, _path(path), mpp)
        old.append(replace(source, mpp=source.mpp or before, group=source.group or group))
    return old + list(given.values())


def begin_run(
    run: RunFolder,
    sources: Sequence[SlideSource],
    settings: dict[str, Any],
    folder: ModelFolder,
    device: str,
    arguments: Sequence[str],
    shard: str | None,
    group_by: GroupBy | None,
    **flags: bool,
) -> dict[str, Prediction]:
    """Begin or go on; return what is done already, by slide id. `flags` are those of `RunFolder.begin`."""
    from ats_cli.results.run_facts import facts
    from ats_cli.results.run_file import RunSlide
    from ats_cli.slides.fingerprint import fingerprint

    paths = {source.slide_id: source.path for source in sources}
    return run.begin(
        [RunSlide(source.slide_id, _place(source.path), source.mpp, source.group) for source in sources],
        settings,
        {"name": folder.spec.name, "hash": folder.hash, "folder": str(folder.path.absolute())},
        folder.spec.classes,
        facts(arguments, device) | {"shard": shard},
        task=folder.spec.task,
        group_by=group_by,
        fingerprint=lambda slide_id: fingerprint(paths[slide_id]),
        **flags,
    )


def changed_files(slide_ids: Sequence[str]) -> str:
    """What is said of slides whose files are not those that were predicted."""
    more = f" and {len(slide_ids) - NAMED} more" if len(slide_ids) > NAMED else ""
    names = ", ".join(slide_ids[:NAMED])
    return f"{names}{more}: the file has changed since it was predicted. It is predicted anew."


def _place(path: AnyPath) -> str:
    """What a run remembers of a slide's path: absolute, and of a URL nothing that opens it; text that JSON can hold."""
    return encodable(str(path.absolute() if isinstance(path, Path) else path))


def _path(place: str) -> AnyPath:
    """The path that `_place` remembers."""
    from ats_cli.slides import slide_path

    return slide_path(place) if "://" in place else existing_path(place)
