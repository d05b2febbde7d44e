"""Files of regions: which belongs to which slide, what is in them, and whether they have changed."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ats_cli.errors import AtsError, SlideError
from ats_cli.slides.inputs.discovery import SlideSource, stem
from ats_cli.slides.inputs.labels import plain
from ats_cli.slides.options import RegionOptions
from ats_cli.slides.regions.geojson import polygons_of
from ats_cli.slides.regions.slide_regions import Regions, extent_of
from ats_cli.slides.remote.path import AnyPath

SUFFIXES = (".geojson", ".json", ".geojson.gz")

NAMED = 5  # classes that are named in one message


@dataclass(frozen=True)
class RegionFile:
    """A GeoJSON file. content: a hash of it, "" where it could not be read; `read_regions` refuses another content."""

    path: Path
    content: str | None = None


def region_file(path: Path | None) -> RegionFile | None:
    """Return the file at a path with the hash of its content; None for None."""
    if path is None:
        return None
    try:
        return RegionFile(path, _digest(path.read_bytes()))
    except OSError:  # the sentence comes when it is read
        return RegionFile(path, "")


def read_regions(file: RegionFile | Path | str, options: RegionOptions = RegionOptions()) -> Regions:
    """Return the regions of a GeoJSON file.

    Raises SlideError, a sentence that begins with the file's name, for a file that cannot be read, has changed, is no
    GeoJSON, or holds no polygon of the classes asked for.
    """
    path, content = (file.path, file.content) if isinstance(file, RegionFile) else (Path(file), None)
    again = "Export it from QuPath again."
    try:
        data = path.read_bytes()
        polygons = polygons_of(data)
    except FileNotFoundError:
        raise _problem(
            path, f"no such file of regions in {path.parent.absolute()}. Add it, or leave the slide out."
        ) from None
    except (OSError, ValueError) as error:
        raise _problem(path, f"not readable as GeoJSON ({error}). {again}") from error
    except RecursionError:
        raise _problem(path, f"nested too deep for GeoJSON. {again}") from None
    if content is not None and content != _digest(data):
        raise _problem(path, "these regions are not those that the run was begun with. Give the same file.")
    if not polygons:
        raise _problem(path, "holds no polygon. Draw regions as polygons or rectangles, and export them again.")
    wanted = {plain(class_name) for class_name in options.classes}
    chosen = [polygon for polygon, class_name in polygons if not wanted or class_name in wanted]
    if not chosen:
        raise _problem(path, _no_region_of(options.classes, [class_name for _, class_name in polygons]))
    return Regions(path.name, chosen, extent_of([polygon for polygon, _ in polygons]), options.origin)


def _problem(path: Path, sentence: str) -> SlideError:
    return SlideError(sentence, "regions", path.name)


def with_regions(
    sources: Sequence[SlideSource], roi: Path | None, options: RegionOptions = RegionOptions()
) -> list[SlideSource]:
    """Return slides with their files of regions: those that a manifest gives, for the others those of `roi`.

    A slide without a file in the folder `roi` gets one that does not exist, so that it fails when its turn comes.
    Raises AtsError as `regions_of_slides`, where `roi` is one file, as `read_regions`, and for options without regions.
    """
    if roi is None and all(source.roi is None for source in sources):
        refuse_without_regions(options)
    without = [(source.slide_id, source.path) for source in sources if source.roi is None]
    if roi is None or not without:
        return list(sources)
    found = regions_of_slides(without, roi)
    if not roi.is_dir():
        read_regions(roi, options)
    files = {file: region_file(file) for file in set(found) if file is not None}
    chosen = {
        slide_id: RegionFile(roi / f"{stem(path.name)}{SUFFIXES[0]}", "") if file is None else files[file]
        for (slide_id, path), file in zip(without, found, strict=True)
    }
    return [replace(source, roi=source.roi or chosen[source.slide_id]) for source in sources]


def roi_setting(roi: Path) -> str:
    """Return what --roi is, as a setting of a run: a hash of the file's content, or that there is a file a slide."""
    return "a file for each slide" if roi.is_dir() else _digest(roi.read_bytes())


def regions_of_slides(slides: Sequence[tuple[str, AnyPath]], roi: Path) -> list[Path | None]:
    """Return the GeoJSON file of each slide, (slide id, path): `roi`, or if that is a folder, the file in it.

    In a folder it is called like the slide's id, its file, or its file without extension; None if there is none.
    Raises AtsError if `roi` does not exist, is a folder without a file for any slide, or if one file would be that of
    two slides.
    """
    if not roi.exists():
        raise AtsError(f"{roi}: no such file or folder. Give --roi a GeoJSON file, or a folder with one a slide.")
    if not roi.is_dir():
        return [roi] * len(slides)
    there = {entry.name for entry in roi.iterdir()}
    found = [_in_folder(roi, there, (slide_id, path.name, stem(path.name))) for slide_id, path in slides]
    if slides and not any(found):
        slide_id, path = slides[0]
        raise AtsError(
            f"{roi}: no GeoJSON file is called like a slide. {slide_id} would need {stem(path.name)}.geojson."
        )
    twice = next((file for file, count in Counter(filter(None, found)).items() if count > 1), None)
    if twice is not None:
        first, second = [slide_id for (slide_id, _), file in zip(slides, found, strict=True) if file == twice][:2]
        raise AtsError(
            f"{twice}: is called like {first} and like {second}. Name it by the whole id: {roi / first}{SUFFIXES[0]}."
        )
    return found


def files_digest(files: Mapping[str, Path]) -> str:
    """Return a hash of the files of several slides, by slide id, whatever their order."""
    contents = [f"{slide_id} {_digest(files[slide_id].read_bytes())}" for slide_id in sorted(files)]
    return _digest("\n".join(contents).encode(errors="surrogatepass"))


def refuse_without_regions(options: RegionOptions) -> None:
    """Raise AtsError for options of regions, where there are none."""
    if options != RegionOptions():
        given = "--roi-class" if options.classes else "--roi-origin"
        raise AtsError(f"{given} is about regions, and no slide has any. Give --roi, or a column roi in the manifest.")


def _in_folder(folder: Path, there: Collection[str], names: Sequence[str]) -> Path | None:
    """Return the first file with one of the names. there: the entries of the folder, asked before the disk is."""
    wanted = (f"{name}{suffix}" for name in names for suffix in SUFFIXES)
    files = (folder / name for name in wanted if name.partition("/")[0] in there)
    return next((file for file in files if file.is_file()), None)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _no_region_of(classes: Sequence[str], present: Sequence[str | None]) -> str:
    asked, names = " or ".join(classes), sorted({name for name in present if name is not None})
    if not names:
        return f"no region of class {asked}: its regions have no class. Leave out --roi-class, or set it in QuPath."
    near = difflib.get_close_matches(classes[0].lower(), [name.lower() for name in names], 1)
    hint = f' Did you mean "{next(name for name in names if name.lower() == near[0])}"?' if near else ""
    listed = ", ".join(names[:NAMED]) + ", ..." * (len(names) > NAMED)
    return f"no region of class {asked}. Its classes are {listed}.{hint}"
