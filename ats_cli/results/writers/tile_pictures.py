"""The tiles that were read as pictures: a folder of PNG files, and one contact sheet."""

from __future__ import annotations

from pathlib import Path

from ats_cli.records import PICTURE_SOFTWARE, Need, Prediction
from ats_cli.results.evidence import by_evidence
from ats_cli.results.pictures.contact_sheet import write_contact_sheet


class TilePictures:
    name, summary, option = "tiles", "the tiles as PNG files, named by rank of evidence and place", "save-tiles"
    needs: tuple[Need, ...] = ("tiles", "patches")

    def write(self, path: Path, prediction: Prediction) -> None:
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo

        tiles, pixels = prediction.tile_arrays, prediction.pixels
        assert tiles is not None and pixels is not None and pixels.patches is not None
        text = PngInfo()
        text.add_text("Software", PICTURE_SOFTWARE)  # so that they are not taken for slides
        path.mkdir()
        order, _ = by_evidence(prediction)
        digits = len(str(len(order)))
        for rank, index in enumerate(order.tolist(), 1):
            if index not in pixels.patches:  # of a slide of very many tiles
                continue
            x, y = (round(value) for value in tiles.boxes[index, :2].tolist())
            file = path / f"{rank:0{digits}d}_x{x}_y{y}.png"
            Image.fromarray(pixels.patches[index]).save(file, pnginfo=text)


class ContactSheet:
    name, summary, option = "contact-sheet.png", "the tiles in one picture, sorted by evidence", "save-tiles"
    needs: tuple[Need, ...] = ("tiles", "patches")

    def write(self, path: Path, prediction: Prediction) -> None:
        write_contact_sheet(path, prediction)


TILES = TilePictures()
SHEET = ContactSheet()
