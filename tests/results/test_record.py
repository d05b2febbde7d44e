"""The record of `--json` and the table for people."""

import io
import json
import math
from dataclasses import replace

from rich.console import Console

from ats_cli.prediction_parts import Cost, ModelName, Provenance, Sampling
from ats_cli.records import Prediction
from ats_cli.results.record import json_line, prediction_dict
from ats_cli.results.table import megabytes, print_predictions

GOOD = Prediction(
    slide_id="a/b [x]",
    path="slides/a/b [x].svs",
    status="ok",
    predicted="normal tissue",
    classes=("tumour", "normal tissue"),
    probabilities=(0.25, 0.75),
    logits=(-0.5, 0.6),
    sampling=Sampling(
        tiles=10, positions=400, attention_mass=0.5, effective_positions=math.inf, sampler="systematic", seed=0
    ),
    cost=Cost(bytes_read=1_200_000, bytes_total=800_000_000, seconds={"open": 0.1, "total": 1.5}),
    provenance=Provenance(mpp=0.25, mpp_source="aperio.MPP", reader="openslide", precision="fp32"),
    model=ModelName("demo", "0123"),
)
BAD = Prediction(
    slide_id="c", path="c.svs", status="failed", error="c.svs: the file is empty. " + "Copy it again. " * 9
)

KEYS = [
    "schema_version",
    "slide_id",
    "path",
    "status",
    "error",
    "failure",
    "predicted",
    "classes",
    "probabilities",
    "se",
    "low",
    "high",
    "logits",
    "logits_se",
    "se_kind",
    "tiles",
    "positions",
    "attention_mass",
    "effective_positions",
    "effective_tiles",
    "tiles_unreadable",
    "mass_unreadable",
    "sampler",
    "seed",
    "settled",
    "bytes_read",
    "bytes_view",
    "bytes_total",
    "mpp",
    "mpp_source",
    "reader",
    "regions",
    "fingerprint",
    "precision",
    "size",
    "bounds",
    "pitch",
    "seconds",
    "unfamiliar",
    "unfamiliar_score",
    "unfamiliar_to",
    "model",
    "task",
    "value",
    "se_value",
    "low_value",
    "high_value",
]


def test_keys_are_always_the_same() -> None:
    assert list(prediction_dict(GOOD)) == KEYS
    assert list(prediction_dict(BAD)) == KEYS


def test_values_are_plain_json() -> None:
    record = json.loads(json_line(prediction_dict(GOOD)))
    assert record["probabilities"] == {"tumour": 0.25, "normal tissue": 0.75}
    assert record["logits"] == {"tumour": -0.5, "normal tissue": 0.6}
    assert record["effective_positions"] is None  # JSON has no infinity
    assert record["model"] == {"name": "demo", "hash": "0123"}
    assert record["seconds"] == {"open": 0.1, "total": 1.5}
    assert "\n" not in json_line(prediction_dict(GOOD))


def test_a_failed_slide_has_nulls_and_its_error() -> None:
    record = prediction_dict(BAD)
    assert record["status"] == "failed"
    assert record["error"] == BAD.error
    assert record["probabilities"] is record["seconds"] is record["model"] is record["tiles"] is None


def shown(*predictions: Prediction, width: int = 10_000) -> str:
    file = io.StringIO()
    print_predictions(Console(file=file, width=width, markup=False, highlight=False), predictions)
    return file.getvalue()


def test_the_table_cuts_nothing_off() -> None:
    text = shown(GOOD, BAD)
    assert "a/b [x]" in text
    assert "normal tissue" in text
    assert str(BAD.error).strip() in text
    for cell in ("0.750", "10 of 400", "50.0%", "1.2 of 800.0", "1.50"):
        assert cell in text


def test_a_slide_that_may_stop_by_itself_says_why_it_stopped() -> None:
    assert "stopped" not in shown(GOOD)
    settled, stopped = (replace(GOOD, sampling=replace(GOOD.sampling, settled=settled)) for settled in (True, False))
    text = shown(settled, stopped, GOOD, BAD)
    assert [line.split()[-1] for line in text.splitlines()[3:6]] == ["settled", "reached", "-"]
    assert "budget reached" in text
    assert str(BAD.error).strip() in text


def test_a_narrow_terminal_folds_instead() -> None:
    text = shown(GOOD, BAD, width=60)
    assert "…" not in text
    assert "failed: c.svs: the file is empty." in text
    assert max(len(line) for line in text.splitlines()) <= 60


def test_megabytes() -> None:
    assert [megabytes(n) for n in (None, 0, 1234, 5_000_000, 12_345_600_000)] == [
        "-",
        "0.000",
        "0.001",
        "5.0",
        "12,345.6",
    ]
