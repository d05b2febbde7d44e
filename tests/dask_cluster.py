"""A real Dask cluster: a scheduler, and workers that are processes with a folder and a PYTHONPATH of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import ats_cli

PACKAGE = Path(ats_cli.__file__).parent


class Dask:
    """A scheduler in this process; workers are processes of their own, each in its folder and with its own ats."""

    def __init__(self, cluster: object) -> None:
        self.address: str = cluster.scheduler_address  # type: ignore[attr-defined]
        self._scheduler = cluster.scheduler  # type: ignore[attr-defined]
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, folder: Path, *first: Path) -> subprocess.Popen[bytes]:
        """Start a worker of one thread in `folder`, `first` on its PYTHONPATH; wait until the scheduler knows it."""
        folder.mkdir(parents=True, exist_ok=True)
        before = len(self._scheduler.workers)
        command = (sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--nthreads", "1", "--no-nanny")
        process = subprocess.Popen(
            [*command, "--no-dashboard", "--local-directory", str(folder / "scratch")],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(map(str, (*first, PACKAGE.parent))), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._processes.append(process)
        while len(self._scheduler.workers) == before and process.poll() is None:
            time.sleep(0.1)
        assert process.poll() is None
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        self._processes.remove(process)

    def stop_all(self) -> None:
        for process in list(self._processes):
            self.stop(process)


@contextmanager
def dask_scheduler() -> Iterator[Dask]:
    distributed = pytest.importorskip("distributed", reason="needs the extra: pip install 'ats-cli[cluster]'")
    with distributed.LocalCluster(n_workers=0, processes=True, dashboard_address=None) as cluster:
        dask = Dask(cluster)
        try:
            yield dask
        finally:
            dask.stop_all()


def other_version(folder: Path) -> Path:
    """A folder with a copy of the package that says it is another version."""
    copy = shutil.copytree(PACKAGE, folder / "ats_cli", ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / "__init__.py"
    file.write_text(file.read_text().replace(f'"{ats_cli.__version__}"', '"9.9"'))
    return folder
