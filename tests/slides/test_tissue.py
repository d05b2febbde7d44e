from __future__ import annotations

from pathlib import Path

import numpy as np
from slide_pictures import picture

from ats_cli.slides import open_slide, tissue_mask


def paper(*colour: int) -> np.ndarray:
    return np.full((12, 12, 3), colour, np.uint8)


def test_white_and_pale_paper_are_not_tissue_and_stains_are() -> None:
    for colour in ((255, 255, 255), (243, 243, 245), (232, 228, 231)):
        assert not tissue_mask(paper(*colour)).any()
    for colour in ((230, 190, 215), (120, 60, 150), (235, 225, 250), (90, 90, 90)):
        assert tissue_mask(paper(*colour)).all()


def test_black_that_was_never_scanned_is_no_tissue_and_darkens_no_neighbour() -> None:
    view = paper(245, 245, 245)
    view[:, :5] = 0
    assert not tissue_mask(view).any()
    stained = paper(120, 60, 150)
    stained[4] = 0
    assert not tissue_mask(stained)[4].any() and tissue_mask(stained)[[3, 5]].all()


def test_a_crop_gives_what_the_whole_gives() -> None:
    view = picture(40, 50) + np.uint8(70)
    whole = tissue_mask(view)
    assert whole.dtype == bool and whole.any() and not whole.all()
    assert np.array_equal(tissue_mask(view[9:31, 4:40])[1:-1, 1:-1], whole[10:30, 5:39])


def test_a_real_slide(data: Path) -> None:
    with open_slide(data / "wsic-samples" / "CMU-1-Small-Region.svs") as slide:
        mask = tissue_mask(slide.read_view(16))
    assert 0.3 < mask.mean() < 0.5
    assert mask[:20, :30].mean() < 0.05 and mask[80:120, 60:75].mean() > 0.95
