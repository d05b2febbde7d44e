"""The evidence of the tiles that were read, over the view of their slide, as a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ats_cli.results.pictures.heatmap import HeatmapOptions, check_colormap
from ats_cli.results.pictures.slide_frame import FramedPicture, SlideFrame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIVERGING = "RdBu_r"


def write_evidence_map(
    path: Path, frame: SlideFrame, values: NDArray[np.float64], name: str, options: HeatmapOptions
) -> None:
    """Write a picture in which each tile of the frame has the colour of its evidence, white at zero.

    values: (n,) each tile's exact share of the logit of the class `name`. Raises AtsError and OSError as
    `write_heatmap`.
    """
    import numpy as np
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    assert frame.tiles is not None
    cmap = check_colormap(options.colormap)
    most = float(np.abs(values).max(initial=0.0)) or 1.0
    norm = Normalize(-most, most)
    picture = FramedPicture(frame, options.max_size)
    order = np.argsort(np.abs(values))  # strong evidence is drawn over weak
    boxes = [Rectangle((x, y), width, height) for x, y, width, height in frame.tiles[order].tolist()]
    alpha = 1.0 if frame.view is None else max(options.alpha, 0.3)
    picture.axes.add_collection(PatchCollection(boxes, facecolor=cmap(norm(values[order])), alpha=alpha, linewidth=0))
    picture.color_bar(norm, cmap, f"evidence for {name} (share of its logit)")
    picture.save(path)
