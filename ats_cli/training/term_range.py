"""Between which values the terms of tiles lie, by which intervals of predictions count a tile that was not drawn."""

import numpy as np
import torch

from ats_cli.nets.model import Model
from ats_cli.sampling import slide_rng
from ats_cli.training.dataset.augment import NONE
from ats_cli.training.dataset.labelled import LabelledSlide
from ats_cli.training.dataset.slide_store import SlideStore
from ats_cli.training.loop.step import SlideRandomness, draw_tiles, embed, part_size, patches_of

MOST_SLIDES = 100


def set_term_range(nets: Model, store: SlideStore, slides: list[LabelledSlide]) -> None:
    """Set `nets.term_range` to the extremes over tiles drawn of `slides`, of at most MOST_SLIDES of them.

    Without slides, to the extremes that any tile may have.
    Leaves `nets` in eval mode. Raises SlideError if a tile cannot be read.
    """
    if not slides:
        nets.bound_terms()
        return
    spec = nets.spec
    chosen = [slides[i] for i in np.unique(np.linspace(0, len(slides) - 1, MOST_SLIDES).round().astype(int))]
    size = part_size(spec.tiles, spec.features.patch_size)
    nets.eval()
    lowest, highest = [], []
    with torch.inference_mode():
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            randomness = [SlideRandomness(NONE, slide_rng(0, slide.path.name)) for slide in part]
            features, _ = embed(nets, patches_of(draw_tiles(nets, store, part, randomness)))
            terms = nets.tile_terms(features)
            lowest.append(terms.amin(0))
            highest.append(terms.amax(0))
    nets.term_range = torch.stack([torch.stack(lowest).amin(0), torch.stack(highest).amax(0)]).clone()
