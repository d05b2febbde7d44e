"""Slides from what the user names: files, folders, globs. And an id for each, unique over the whole list."""

from __future__ import annotations

import glob
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ats_cli.records import SlideError
from ats_cli.slides.opening import is_dicom_folder, is_zarr_folder
from ats_cli.slides.remote_path import AnyPath, RemotePath, slide_path
from ats_cli.text import printable

EXTENSIONS = (
    ".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".tif", ".tiff", ".btf", ".tf8",
    ".dcm", ".zarr", ".zarr.zip", ".ozx", ".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".bmp", ".webp", ".ppm",
)  # fmt: skip
"""What is looked for in a folder. A file that is named itself is opened whatever it is called."""

RUN_FILES = ("prediction.json", "tiles.csv", "draw.npz")
"""What a run writes into the folder of a slide; no part of a slide's id is called so."""

LONGEST_NAME = 200
"""Bytes of a part of an id. Names of files go up to 255, with what is written beside them."""


@dataclass(frozen=True)
class SlideSource:
    """One slide to read. `mpp`: microns per pixel given by hand, or None. `group`: what it is grouped by, or None."""

    slide_id: str
    path: AnyPath
    mpp: float | None = None
    group: str | None = None


def find_slides(inputs: Sequence[str], mpp: float | None = None) -> list[SlideSource]:
    """The slides that `inputs` name, each once, in the order given; within a folder or a glob, sorted.

    An input is a file, a URL, a folder (searched recursively; what is no slide by its extension is passed over), or a
    glob (`**` reaches into folders). Raises SlideError for an input that names nothing.
    """
    found: dict[AnyPath, AnyPath] = {}
    for item in inputs:
        for path in _expand(item):
            found.setdefault(path if isinstance(path, RemotePath) else path.resolve(), path)
    unique = _one_a_series(list(found.values()))
    return [SlideSource(slide_id, path, mpp) for slide_id, path in zip(slide_ids(unique), unique, strict=True)]


def slide_ids(paths: Sequence[AnyPath]) -> list[str]:
    """An id for each path: its stem, or where stems collide the shortest end of the path that tells them apart.

    Every id names a folder, and is safe to print.

    >>> slide_ids([Path("a/x.svs"), Path("b/x.svs"), Path("b/y.ome.tif")])
    ['a/x', 'b/x', 'y']
    >>> slide_ids([Path("a/x.svs"), Path("a/x.tif")])
    ['x.svs', 'x.tif']
    """
    candidates = [_candidates(path) for path in paths]
    tried = [0] * len(paths)
    while True:
        ids = [c[n] for c, n in zip(candidates, tried, strict=True)]
        count = Counter(ids)
        longer = [i for i, name in enumerate(ids) if count[name] > 1 and tried[i] + 1 < len(candidates[i])]
        if not longer:
            return ids
        for i in longer:
            tried[i] += 1


def _candidates(path: AnyPath) -> list[str]:
    """Ids from short to long: the stem, the name, the same with one folder before it, with two ..."""
    place = path.folders if isinstance(path, RemotePath) else _folders(path)
    folders = tuple(map(_id_part, place))
    ids = [
        "/".join((*folders[len(folders) - depth :], last))
        for depth in range(len(folders) + 1)
        for last in map(_id_part, (stem(path.name), path.name))
    ]
    # Paths may differ in what an id does not show alone: of a URL its query, of a file a control character.
    exact = path.url if isinstance(path, RemotePath) else "/".join((*place, path.name))
    return ids if exact == ids[-1] else [*ids, _numbered(ids[-1], exact)]


def _id_part(name: str) -> str:
    part = printable(name)
    if len(part.encode()) > LONGEST_NAME:
        part = _numbered(part.encode()[: LONGEST_NAME - 9].decode(errors="ignore"), name)
    return f"_{part}" if part in RUN_FILES or not part.strip(". ") else part


def _numbered(name: str, exact: str) -> str:
    return f"{name}-{zlib.crc32(exact.encode(errors='surrogatepass')):08x}"


def _folders(path: Path) -> tuple[str, ...]:
    # ".." names no folder, so it is followed to where it leads.
    folder = path.parent.resolve() if ".." in path.parts else path.parent.absolute()
    return folder.parts[1:]


def stem(name: str) -> str:
    """A file's name without its extension, both parts of `.ome.tif`, all of `.ome.zarr.zip`."""
    longest = max((extension for extension in EXTENSIONS if name.lower().endswith(extension)), key=len, default="")
    base = name.removesuffix(name[len(name) - len(longest) :])
    base = base[:-4] if base.lower().endswith(".ome") else base
    return name if base in RUN_FILES or not base.strip(". ") else base


def _expand(item: str) -> Sequence[AnyPath]:
    if not item.strip():
        # An unset variable in a script would otherwise mean the whole of the current folder.
        raise SlideError("an empty name is no slide. Check the variable or the list that it came from.")
    path = slide_path(item)
    if isinstance(path, RemotePath):
        if glob.has_magic(str(path)) or item.endswith("/"):
            raise SlideError(
                f"{path.name}: folders and globs are searched on local disks only. List the URLs in a manifest."
            )
        return [path]
    if path.is_dir():
        found = list(_walk(path))
        if not found:
            raise SlideError(f"{path.name or item}: no slide in this folder. Looked for {', '.join(EXTENSIONS)}.")
        return found
    if path.exists():
        return [path]
    if not glob.has_magic(item):
        raise SlideError(f"{path.name}: no such file in {path.parent.absolute()}. Check the path.")
    matches = [Path(match) for match in sorted(glob.glob(item, recursive=True))]  # noqa: PTH207 (absolute patterns)
    found = [slide for match in matches for slide in _walk(match)]
    # A glob that names no known extension means what it matches.
    found = found or [match for match in matches if match.is_file()]
    if not found:
        raise SlideError(f"{item}: nothing matches. Looked for {', '.join(EXTENSIONS)}.")
    return found


def _one_a_series(paths: list[AnyPath]) -> list[AnyPath]:
    """The files of one DICOM series are one slide: the first of those in a folder stands for all."""
    seen: set[tuple[Path, str]] = set()
    kept: list[AnyPath] = []
    dicom = [path for path in paths if isinstance(path, Path) and path.suffix.lower() == ".dcm" and path.is_file()]
    for path in paths:
        if len(dicom) > 1 and isinstance(path, Path) and path in dicom:
            from ats_cli.slides.dicom_reader import series_of_file

            key = (path.parent.resolve(), series_of_file(path) or path.name)
            if key in seen:
                continue
            seen.add(key)
        kept.append(path)
    return kept


def _one_dicom_slide(folder: Path) -> bool:
    """Whether a folder holds one DICOM series and nothing else, so that it is a slide as a whole."""
    if not is_dicom_folder(folder) or not _nothing_but_dicom(folder):
        return False
    from ats_cli.slides.dicom_reader import group_by_series

    return len(group_by_series(folder)) <= 1


def _nothing_but_dicom(folder: Path) -> bool:
    others = set(EXTENSIONS) - {".dcm"}
    return not any(entry.is_dir() or entry.suffix.lower() in others for entry in folder.iterdir())


def _walk(path: Path) -> Iterator[Path]:
    """The slides at or below `path`, sorted. A slide that is a folder, or has companions, comes once."""
    if path.is_file():
        if path.name.lower().endswith(EXTENSIONS) and not path.name.startswith("."):
            yield path
        return
    try:
        entries = sorted(path.iterdir())
        one_slide = is_zarr_folder(path) or _one_dicom_slide(path)
    except OSError as error:
        raise SlideError(
            f"{path.name}: the folder could not be read ({error.strerror}). Check its access rights."
        ) from error
    if one_slide:
        yield path
        return
    mirax = {entry.stem for entry in entries if entry.suffix.lower() == ".mrxs"}
    # A slide of Hamamatsu's has its pixels beside it: name.jpg, name(0,1).jpg, name_map2.jpg.
    hamamatsu = tuple(e.stem + mark for e in entries if e.suffix.lower() in (".vms", ".vmu") for mark in ".(_")
    for entry in entries:
        if entry.name.startswith(".") or (entry.is_dir() and entry.name in mirax):
            continue
        if entry.name.startswith(hamamatsu) and entry.suffix.lower() in (".jpg", ".jpeg"):
            continue
        if entry.is_symlink() and path.resolve().is_relative_to(entry.resolve()):
            continue  # a link back to a folder above would never end
        yield from _walk(entry)
