"""What a run keeps of one slide, in a folder of its own: prediction.json, tiles.csv, draw.npz."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ats_cli.records import SCHEMA_VERSION, AtsError, Prediction, TilesRead
from ats_cli.results.files import csv_bytes, json_bytes, write_together
from ats_cli.results.probabilities import probabilities_of
from ats_cli.results.record import finite_json, prediction_dict, prediction_from

RECORD, TILES, DRAW = "prediction.json", "tiles.csv", "draw.npz"
FILES = (RECORD, TILES, DRAW)
ARRAYS = ("positions", "attention", "weights", "draws", "boxes", "terms", "readable", "bias")
OPTIONAL = {"features"}


def slide_folder(slides: Path, slide_id: str) -> Path:
    """Return the folder of a slide below `slides`; an id with "/" is a folder in a folder.

    AtsError for an id that would lead elsewhere, or to where a file of another slide belongs.
    """
    names = slide_id.split("/")
    folder = slides.joinpath(*names)
    # On Windows a name may be a path itself; where it leads away, what is below `slides` is not what was asked for.
    below = folder.relative_to(slides).parts if folder.is_relative_to(slides) else ()
    if below != tuple(names) or any(name in ("..", *FILES) for name in names):
        raise AtsError(f"slide id {slide_id!r} cannot name a folder inside the run. Rename the slide's file.")
    return folder


def write_slide(folder: Path, prediction: Prediction) -> None:
    """Write a slide's files. The record comes last: where there is one, the others are there too."""
    files = {}
    if prediction.kept is not None:
        files[folder / DRAW] = _draw_bytes(prediction.kept)
        files[folder / TILES] = csv_bytes(tile_rows(prediction.classes, prediction.kept, prediction.task))
    files[folder / RECORD] = json_bytes(prediction_dict(prediction))
    write_together(files)


def read_record(folder: Path) -> Prediction | None:
    """Return what was predicted, or None where nothing whole was written."""
    try:
        return prediction_from(finite_json((folder / RECORD).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_draw(folder: Path) -> TilesRead | None:
    """Return the tiles that were read, or None where they are not kept, or not whole."""
    try:
        with np.load(folder / DRAW, allow_pickle=False) as file:
            rows, cols = map(int, file["grid"].tolist())
            log_z = float(file["log_z"])
            arrays = {name: file[name] for name in (*ARRAYS, *(OPTIONAL & set(file.files)))}
        kept = TilesRead(**arrays, grid=(rows, cols), log_z=None if np.isnan(log_z) else log_z)
        return kept if _is_whole(kept) else None
    except Exception:  # a damaged zip raises whatever its parts do; without its tiles a draw begins anew
        return None


def _is_whole(kept: TilesRead) -> bool:
    """Whether the arrays are of the types and shapes of one draw, their numbers finite, the positions on the grid."""
    n, classes = kept.terms.shape
    shapes = {
        "positions": (n,), "attention": (n,), "weights": (n,), "draws": (n,), "boxes": (n, 4), "readable": (n,),
        "bias": (classes,), "terms": (n, classes),
    }  # fmt: skip
    numbers = [getattr(kept, name) for name in shapes] + ([] if kept.features is None else [kept.features])
    return (
        all(getattr(kept, name).shape == shape for name, shape in shapes.items())
        and (kept.features is None or (kept.features.ndim == 2 and len(kept.features) == n))
        and all(np.isfinite(array).all() for array in numbers)
        and kept.positions.dtype.kind == kept.draws.dtype.kind == "i"
        and kept.readable.dtype == np.bool_
        and bool(((kept.positions >= 0) & (kept.positions < kept.grid[0] * kept.grid[1])).all())
        and len(np.unique(kept.positions)) == n
    )


def copy_slide(source: Path, folder: Path) -> Prediction | None:
    """Copy a slide's files, the record last; return what was predicted, or None where nothing whole is there."""
    record = read_record(source)
    if record is not None:
        names = sorted((f.name for f in source.iterdir() if f.is_file() and f.name[0] != "."), key=RECORD.__eq__)
        write_together({folder / name: (source / name).read_bytes() for name in names})
    return record


def delete_slide(folder: Path, slides: Path) -> None:
    """Delete a slide's files, and the folders up to `slides` that are empty then. What else lies there stays."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    while folder != slides and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def tile_rows(classes: tuple[str, ...], kept: TilesRead, task: str = "multi-class") -> list[list[object]]:
    """Return the rows of tiles.csv, the heading first.

    Boxes in level-0 pixels; each tile's own class probabilities; what it counts for; its exact shares of the slide's
    logits, which sum to logit minus bias. A tile that could not be read has weight 0, and no probabilities. Of
    regression, `value` is what the tile alone would give.
    """
    logits = kept.terms + kept.bias
    own = logits if task == "regression" else probabilities_of(logits, task)
    shares = kept.weights[:, None] * kept.terms
    heading: list[object] = ["minx", "miny", "width", "height", *(f"prob_{name}" for name in classes)]
    if task == "regression":
        heading[4:] = ["value"]
    heading += ["attention", "weight", "draws", *(f"share_{name}" for name in classes)]
    rows = zip(
        kept.boxes.tolist(),
        own.tolist(),
        kept.attention.tolist(),
        kept.weights.tolist(),
        kept.draws.tolist(),
        shares.tolist(),
        kept.readable.tolist(),
        strict=True,
    )
    nothing = (None,) * len(classes)
    return [heading] + [
        [*map(_pixels, box), *(p if readable else nothing), a, w, n, *(share if readable else nothing)]
        for box, p, a, w, n, share, readable in rows
    ]


def _draw_bytes(kept: TilesRead) -> bytes:
    file = io.BytesIO()
    log_z = np.float64(np.nan if kept.log_z is None else kept.log_z)
    arrays = {name: getattr(kept, name) for name in ARRAYS}
    if kept.features is not None:
        arrays["features"] = kept.features
    np.savez(file, schema_version=np.int64(SCHEMA_VERSION), grid=np.array(kept.grid), log_z=log_z, **arrays)
    return file.getvalue()


def _pixels(value: float) -> float:
    """Return whole pixels as an integer, as WSInfer writes them, others to a thousandth."""
    return int(value) if value == int(value) else round(value, 3)
