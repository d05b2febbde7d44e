"""Readers that fail as native code does, for a process started with this folder in PYTHONPATH.

A slide whose name begins with "abort" ends the process as it is opened; one with "hang" never comes back, and holds
Python's lock while it waits, so that nothing inside the process can end it.
"""

import ctypes
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from typing import Any


class _Patch(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != "ats_cli.slides.opening":
            return None
        spec = PathFinder.find_spec(name, path)
        assert spec and spec.loader
        honest = spec.loader.exec_module

        def execute(module: Any) -> None:
            honest(module)
            opens = module.open_with

            def open_with(path: Any, *arguments: Any, **options: Any) -> Any:
                if path.name.startswith("abort"):
                    os.abort()
                if path.name.startswith("hang"):
                    ctypes.PyDLL(None).pause()
                return opens(path, *arguments, **options)

            module.open_with = open_with

        spec.loader.exec_module = execute  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Patch())
