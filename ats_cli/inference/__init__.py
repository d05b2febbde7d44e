"""One slide -> one Prediction; many slides -> a stream of Predictions, good and failed alike.

Names are imported when first used: the process that hands out the work of a run needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ats_cli.inference.api import predict
    from ats_cli.inference.attention_pass import attention_map
    from ats_cli.inference.compute.device import resolve_device
    from ats_cli.inference.executors.in_process import predict_many
    from ats_cli.inference.predict import predict_slide

__all__ = ["attention_map", "predict", "predict_many", "predict_slide", "resolve_device"]

_HOMES = {
    "attention_map": "attention_pass",
    "predict": "api",
    "predict_many": "executors.in_process",
    "predict_slide": "predict",
    "resolve_device": "compute.device",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ats_cli.inference.{_HOMES[name]}"), name)
