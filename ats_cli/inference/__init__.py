"""One slide -> one Prediction; many slides -> a stream of Predictions, in order, good and failed alike."""

from ats_cli.inference.device import resolve_device
from ats_cli.inference.look import attention_map
from ats_cli.inference.many import predict_many
from ats_cli.inference.predict import predict_slide

__all__ = ["attention_map", "predict_many", "predict_slide", "resolve_device"]
