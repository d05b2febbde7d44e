"""ats: classify whole-slide and other gigapixel images by attention sampling.

From Python: `from ats_cli import open_slide, load_model, predict, prediction_dict, attention_sampling,
attention_sampling_from_view`. Names are imported when first used, so that `import ats_cli` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ats_cli.inference.api import predict
    from ats_cli.nets.attention_sampling import attention_sampling
    from ats_cli.nets.view_sampling import attention_sampling_from_view
    from ats_cli.results.record import prediction_dict
    from ats_cli.slides import open_slide
    from ats_cli.zoo import load_model

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "attention_sampling",
    "attention_sampling_from_view",
    "load_model",
    "open_slide",
    "predict",
    "prediction_dict",
]

_HOMES = {
    "attention_sampling": ("ats_cli.nets.attention_sampling", "attention_sampling"),
    "attention_sampling_from_view": ("ats_cli.nets.view_sampling", "attention_sampling_from_view"),
    "load_model": ("ats_cli.zoo", "load_model"),
    "open_slide": ("ats_cli.slides", "open_slide"),
    "predict": ("ats_cli.inference.api", "predict"),
    "prediction_dict": ("ats_cli.results.record", "prediction_dict"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ats_cli' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
