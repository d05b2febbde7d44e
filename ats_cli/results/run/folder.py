"""A run folder: what `ats predict -o` writes, and what a later call continues.

    RUN/run.json                       what was run, with what, on what; the list of slides
    RUN/predictions.csv                one row a slide, in the order of the list
    RUN/predictions_by_group.csv       if slides are grouped, one row per group whose slides are all there
    RUN/report.html                    if it is asked for, the run as a page
    RUN/slides/<slide id>/             prediction.json, tiles.csv, draw.npz

A slide is done when it has its record. predictions.csv is made from the records.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ats_cli.errors import AtsError
from ats_cli.records import DEFAULT_TASK, SCHEMA_VERSION, Need, Prediction, TilesRead
from ats_cli.registry import NESTED_SAMPLER
from ats_cli.results.failures import is_tried_again
from ats_cli.results.files import delete_parts, json_bytes, write_if_new, write_whole
from ats_cli.results.groups import GroupBy, grouped, groups_csv
from ats_cli.results.report.report_file import REPORT_OPTION, has_report
from ats_cli.results.run import slide_files
from ats_cli.results.run.provenance import now
from ats_cli.results.run.request import RunRequest
from ats_cli.results.run.run_file import RUN, RunSlide, read_run
from ats_cli.results.run.same_run import TakeFingerprint, changed_slides, refuse_other_settings
from ats_cli.results.run.slide_files import copy_slide, delete_slide, missing_outputs, slide_folder, without_tiles
from ats_cli.results.run.table import predictions_csv
from ats_cli.results.writers.draw_npz import read_draw
from ats_cli.results.writers.prediction_json import RECORD, read_record

LOCK, GROUPS = ".lock", "predictions_by_group.csv"

# predictions.csv is written again after a slide if that takes at most so many seconds, or about this share of the time
# since it was last written: with thousands of slides, after every few.
TABLE_QUICK, TABLE_SHARE = 0.01, 0.05


class RunFolder:
    """A run folder, new or with slides. Nothing is written before `begin`.

    settings: by name, of the run as it is on disk. model: {name, hash, folder}. slides: by id, in order.
    outputs: options that ask for optional outputs of each slide. group_by: how slides are grouped, or None.
    changed: ids of the slides, of those begun with, whose file is another than the one that was predicted.
    whole: whether the run is complete once `end` is called.
    """

    def __init__(self, path: Path, outputs: Collection[str] = ()) -> None:
        """Raise AtsError for a folder that holds something else than a run."""
        self.path, self.outputs = path, outputs
        self._lock = FileLock(path / LOCK)
        self._classes: tuple[str, ...] = ()
        self._task, self._working = DEFAULT_TASK, False
        self.changed: list[str] = []
        self.whole = True
        self._begun_in, self._table_written, self._table_cost = _place(path), 0.0, 0.0
        self._read()

    def _read(self) -> None:
        run = read_run(self.path)
        self.exists = run is not None
        self.settings: dict[str, Any] = run["settings"] if run else {}
        self.model: dict[str, Any] = run["model"] if run else {}
        self.slides = {s.slide_id: s for s in (RunSlide(**slide) for slide in (run or {}).get("slides", ()))}
        self.group_by = GroupBy(**run["group_by"]) if run and run.get("group_by") else None
        self._run = run or {}
        self._records: dict[str, Prediction] = {}

    def begin(
        self,
        request: RunRequest,
        *,
        fingerprint: TakeFingerprint | None = None,
        extend: bool = False,
        overwrite: bool = False,
        retry_failed: bool = False,
    ) -> dict[str, Prediction]:
        """Begin the run or continue it; return the predictions that it already has, by slide id.

        fingerprint: returns the current fingerprint of a slide. Slides whose file has changed are in `changed`, and
        must be predicted again. extend: the settings may have more tiles than the run. overwrite: delete the run first.

        Raises AtsError, before anything is changed, if the settings are not those of the run, a slide is not the one
        with its id, an id cannot name a folder, or another process writes this run.
        """
        self._task = request.task
        for slide in request.slides:
            self._folder(slide.slide_id)
        self._acquire_lock()
        try:
            self._read()  # again, now that no other process writes
            if self.exists and not overwrite:
                self._continue(request, fingerprint, extend)
            elif self.exists:
                self._clear()
            return self._begin(request, retry_failed)
        except BaseException:
            self._lock.release()
            raise

    def _continue(self, request: RunRequest, fingerprint: TakeFingerprint | None, extend: bool) -> None:
        """Read the records; delete those of slides whose file has changed."""
        refuse_other_settings(self.path, (self.settings, self.model), request.settings, request.model, extend)
        self._read_records()
        self.changed = changed_slides(self.path, self.slides, self._records, request.slides, fingerprint)
        for slide_id in self.changed:
            delete_slide(self._folder(slide_id), self.path / "slides")
            del self._records[slide_id]

    def _clear(self) -> None:
        """Delete the slides of the run."""
        for slide_id in self.slides:
            delete_slide(self._folder(slide_id), self.path / "slides")
        (self.path / GROUPS).unlink(missing_ok=True)
        self.slides, self._run, self.group_by = {}, {}, None

    def _begin(self, request: RunRequest, retry_failed: bool) -> dict[str, Prediction]:
        self._classes, self.settings, self.model = request.classes, dict(request.settings), dict(request.model)
        earlier_groups = self._group_of(), self.group_by
        self.slides |= {slide.slide_id: self._in_its_group(slide) for slide in request.slides}
        self.group_by = request.group_by or self.group_by
        again = {name for name, p in self._records.items() if self._is_short(p) or is_tried_again(p, retry_failed)}
        done = {name: p for name, p in self._records.items() if name not in again}
        if not self.exists or any(slide.slide_id not in done for slide in request.slides):
            self._working = True
            delete_parts(self.path)
            process = {"pid": os.getpid(), "host": socket.gethostname()}
            times = {"process": process, "started": now(), "ended": None}
            self._run = {"schema_version": SCHEMA_VERSION, **request.facts, **times}
            self._write_run()
        elif (self._group_of(), self.group_by) != earlier_groups:
            self._write_run()
        self._write_table()
        return done

    def before(self, slide_id: str) -> TilesRead | None:
        """Return the tiles of a slide that is continued to more tiles; None if it is predicted from the beginning."""
        record = self._records.get(slide_id)
        return read_draw(self._folder(slide_id)) if record is not None and not _failed(record) else None

    def add(self, prediction: Prediction) -> None:
        """Write the prediction of a slide. A slide that fails while it is continued keeps its earlier prediction."""
        earlier = self._records.get(prediction.slide_id)
        if _failed(prediction) and earlier is not None and not _failed(earlier):
            return
        self._check_place()
        slide_files.write_slide(self._folder(prediction.slide_id), prediction)
        self._records[prediction.slide_id] = without_tiles(prediction)
        if self._table_cost <= max(TABLE_QUICK, TABLE_SHARE * (time.perf_counter() - self._table_written)):
            self._write_table()

    def lacking(self, slide_id: str) -> tuple[Prediction, frozenset[Need]] | None:
        """Return what was predicted of a slide that lacks one of `outputs`, and what those are made from.

        Its tiles are None where their file is missing or damaged.
        """
        writers, record = missing_outputs(self._folder(slide_id), self.outputs), self._records.get(slide_id)
        if not writers or record is None or _failed(record):
            return None
        needs = frozenset(need for writer in writers for need in writer.needs)
        return replace(record, tile_arrays=read_draw(self._folder(slide_id))), needs

    def predicted(self, slide_id: str) -> Prediction | None:
        """Return what was predicted of a slide with its tiles; None if it failed, or its files are damaged."""
        record, tiles = self.record(slide_id), read_draw(self._folder(slide_id))
        return None if record is None or _failed(record) or tiles is None else replace(record, tile_arrays=tiles)

    def add_outputs(self, prediction: Prediction) -> None:
        """Write the outputs that a slide lacks."""
        self._check_place()
        slide_files.add_outputs(self._folder(prediction.slide_id), prediction, self.outputs)

    def take(self, other: RunFolder, slide_id: str) -> bool:
        """Copy a slide's files from another run. Return whether it has a prediction there."""
        self._check_place()
        if other.record(slide_id) is None:
            return False
        record = copy_slide(other._folder(slide_id), self._folder(slide_id))
        if record is not None:
            self._records[slide_id] = record
        return record is not None

    def record(self, slide_id: str) -> Prediction | None:
        """Return the prediction of a slide; None if it has no valid record."""
        record = read_record(self._folder(slide_id))
        return None if record is None or record.slide_id != slide_id else record

    def is_unfinished_merge(self, paths: Sequence[str]) -> bool:
        """Whether the run is an incomplete merge of runs at `paths`, or of some of them."""
        merged = self._run.get("merged")
        return merged is not None and set(merged) <= set(paths) and self._run.get("ended") is None

    def classes(self) -> tuple[str, ...]:
        """Return the classes of the run's records; () if it has no record."""
        records = (read_record(self._folder(slide_id)) for slide_id in self.slides)
        return next((record.classes for record in records if record is not None), ())

    def task(self) -> str | None:
        """Return the task of the run's records; None if no slide succeeded."""
        records = (read_record(self._folder(slide_id)) for slide_id in self.slides)
        return next((record.task for record in records if record is not None and not _failed(record)), None)

    @property
    def shard(self) -> tuple[int, int] | None:
        """The part of a call that the run is, (I, N); None for a whole call."""
        number, slash, parts = str(self._run.get("shard") or "").partition("/")
        return (int(number), int(parts)) if slash else None

    @property
    def device(self) -> str:
        """The device that computed the networks."""
        return str(self._run.get("device"))

    def end(self) -> None:
        """Write predictions.csv, run.json and the report with all slides so far, and release the lock.

        Raises OSError if files that were written have been deleted.
        """
        try:
            self._check_place()
            self._write_table()
            if self._working:
                self._run["ended"] = now() if self.whole else None
                self._write_run()
                if lost := sum(not (self._folder(slide_id) / RECORD).is_file() for slide_id in self._records):
                    raise _lost(self.path, f"{lost} of its {len(self._records)} slides were deleted")
            if REPORT_OPTION in self.outputs or has_report(self.path):
                from ats_cli.results.report.run_report import update_report  # slow to import

                update_report(self.path, self._records)
        finally:
            self._lock.release()

    def _check_place(self) -> None:
        """Raise OSError if the folder was deleted or replaced since the run began: nothing is written elsewhere."""
        if _place(self.path) != self._begun_in:
            raise _lost(self.path, "the folder was deleted or replaced")

    def _acquire_lock(self) -> None:
        """Lock the run against other processes until `end`, or until this process has ended."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._begun_in = _place(self.path)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            who = (read_run(self.path) or {}).get("process")
            holder = "process {pid} on {host}".format(**who) if who else "another process"
            raise AtsError(
                f"{self.path}: {holder} is writing this run. Wait until it has ended, or give another folder with -o."
            ) from None
        except OSError:
            if not self.exists:  # a finished run can be shown from a folder that cannot be written
                raise

    def _group_of(self) -> dict[str, str]:
        return {slide.slide_id: slide.group for slide in self.slides.values() if slide.group is not None}

    def _in_its_group(self, slide: RunSlide) -> RunSlide:
        """Return the slide; if it has no group, with the group that it has in the run."""
        before = self.slides.get(slide.slide_id)
        return slide if slide.group is not None or before is None else slide._replace(group=before.group)

    def _folder(self, slide_id: str) -> Path:
        return slide_folder(self.path / "slides", slide_id)

    def _read_records(self) -> None:
        self._records = {name: record for name in self.slides if (record := self.record(name)) is not None}

    def _is_short(self, p: Prediction) -> bool:
        """Whether a slide has fewer tiles than the run's budget, because the budget was raised afterwards."""
        draw = p.sampling
        if _failed(p) or draw.sampler != NESTED_SAMPLER or draw.settled or draw.tiles is None or not draw.positions:
            return False
        return draw.tiles < min(int(self.settings["tiles"]), draw.positions)

    def _write_run(self) -> None:
        failed = sum(map(_failed, self._records.values()))
        counts = {"slides": len(self.slides), "ok": len(self._records) - failed, "failed": failed}
        run = {**self._run, "counts": counts, "settings": self.settings, "model": self.model}
        run["group_by"] = self.group_by._asdict() if self.group_by else None
        run["slides"] = [slide.as_dict() for slide in self.slides.values()]
        write_whole(self.path / RUN, json_bytes(run, allow_nan=True))

    def _write_table(self) -> None:
        clock = time.perf_counter()
        found = (self._records[s] for s in self.slides if s in self._records)
        write_if_new(self.path / "predictions.csv", predictions_csv(self._classes, found, self._task))
        part = self.shard is not None or self._run.get("parts_missing")
        if self.group_by is not None and not part:  # a part lacks slides of a group
            groups = grouped(self._group_of(), self._records, self.group_by.weights)
            write_if_new(self.path / GROUPS, groups_csv(self._classes, groups, self._task))
        self._table_written = time.perf_counter()
        self._table_cost = self._table_written - clock


def _failed(prediction: Prediction) -> bool:
    return prediction.status == "failed"


def _place(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of a folder; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _lost(path: Path, what: str) -> OSError:
    return OSError(errno.ENOENT, f"{what} while the run was written. Run it again", str(path))
