"""One answer a group: the mean of the logits, and an error that is true."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ats_cli.inference.estimate import estimate_from
from ats_cli.prediction_parts import Sampling
from ats_cli.records import Prediction, TilesRead
from ats_cli.results.groups import group_dict, grouped, groups_csv, together
from ats_cli.sampling import Draw, draw

CLASSES = ("light", "dark")


def slide(name: str, logits: tuple[float, ...], positions: int = 100, **rest: object) -> Prediction:
    p = np.exp(logits) / np.exp(logits).sum()
    given = {
        "probabilities": tuple(p.tolist()),
        "se": (0.02,) * len(logits),
        "logits_se": (0.3,) * len(logits),
        "se_kind": "unbiased",
        "classes": CLASSES,
    }
    return Prediction(
        name, f"{name}.svs", "ok", predicted="dark", logits=logits, sampling=Sampling(5, positions), **(given | rest)
    )  # type: ignore[arg-type]


def exact(attention: np.ndarray, terms: np.ndarray, task: str) -> Prediction:
    """The slide with all its tiles read."""
    drawn = draw(attention, attention.size, "murthy", np.random.default_rng(0))
    estimate = estimate_from(drawn, tiles_of(drawn, terms[drawn.positions]), False, task)
    return slide("all", tuple(estimate.logits.tolist()), task=task)


def tiles_of(drawn: Draw, terms: np.ndarray) -> TilesRead:
    """Tiles of a draw that can all be read, of a model without bias and gate."""
    n, classes = terms.shape
    arrays = (drawn.positions, drawn.attention, drawn.weights, drawn.draws, np.zeros((n, 4)), terms, np.ones(n, bool))
    return TilesRead(*arrays, np.zeros(classes), (20, 20), term_range=np.array([[-4.0] * classes, [4.0] * classes]))


FAILED = Prediction("z", "z.svs", "failed", "z.svs: broken.", classes=CLASSES)


def test_the_mean_of_the_logits_and_not_of_the_probabilities() -> None:
    group = together("P", [slide("a", (0.0, 4.0)), slide("b", (1.0, -1.0)), FAILED], "equal")
    p = group.prediction
    assert p.logits == (0.5, 1.5) and p.predicted == "dark"
    assert p.probabilities == pytest.approx((1 / (1 + np.e), np.e / (1 + np.e)))
    assert p.logits_se == pytest.approx((0.3 / np.sqrt(2),) * 2)
    assert (group.slides, group.failed, p.sampling.tiles, p.sampling.positions) == (("a", "b"), ("z",), 10, 200)


def test_by_tissue_a_slide_counts_as_much_as_it_has() -> None:
    slides = [slide("a", (0.0, 4.0), 300), slide("b", (1.0, -1.0), 100)]
    p = together("P", slides, "tissue").prediction
    assert p.logits == pytest.approx((0.25, 2.75))
    assert p.logits_se == pytest.approx((0.3 * np.hypot(0.75, 0.25),) * 2)


def test_one_slide_is_a_group_like_itself() -> None:
    for logits in ((0.2, -0.4), (45.0, 0.0)):  # in the second, a probability of 1 to the last digit
        own = slide("a", logits)
        p = together("P", [own], "equal").prediction
        assert p.probabilities == pytest.approx(own.probabilities)
        assert p.se == pytest.approx(own.se) and p.logits_se == pytest.approx(own.logits_se)


@pytest.mark.integration
@pytest.mark.parametrize("task", ["multi-class", "multi-label"])
def test_the_errors_are_how_far_groups_of_draws_are_off(task: str) -> None:
    """Draws of two slides again and again: their groups scatter by the standard error that is said."""
    rng = np.random.default_rng(0)
    maps = [rng.dirichlet(np.full(400, 0.5)).reshape(20, 20) for _ in range(2)]
    terms = [rng.normal(0, 1.0, (400, 2)) + shift for shift in ([0.5, 0.0], [-0.5, 0.4])]
    found, said, held = [], [], []
    truth = together("P", [exact(a, t, task) for a, t in zip(maps, terms, strict=True)], "equal").prediction
    for _ in range(400):
        slides = []
        for i, (attention, values) in enumerate(zip(maps, terms, strict=True)):
            drawn: Draw = draw(attention, 40, "murthy", rng)
            e = estimate_from(drawn, tiles_of(drawn, values[drawn.positions]), False, task)
            assert e.se is not None and e.logits_se is not None
            own = slide(str(i), tuple(e.logits.tolist()), task=task, probabilities=tuple(e.probabilities.tolist()))
            ends = {"low": tuple(e.low.tolist()), "high": tuple(e.high.tolist())}
            slides.append(replace(own, se=tuple(e.se.tolist()), logits_se=tuple(e.logits_se.tolist()), **ends))
        p = together("P", slides, "equal").prediction
        assert p.probabilities and p.se and p.logits and p.logits_se and p.low and p.high and truth.probabilities
        held.append([a <= t <= b for a, t, b in zip(p.low, truth.probabilities, p.high, strict=True)])
        found.append([*p.probabilities, *p.logits])
        said.append([*p.se, *p.logits_se])
    scatter = np.std(found, axis=0, ddof=1)
    assert np.sqrt(np.mean(np.square(said), axis=0)) == pytest.approx(scatter, rel=0.12)
    assert np.mean(held) > 0.93, "95 % intervals hold the answer of all tiles"


def test_what_is_not_known_of_a_slide_is_not_known_of_its_group() -> None:
    for unknown in ({"se": None, "logits_se": None, "se_kind": None}, {"logits_se": (0.3, float("nan"))}):
        p = together("P", [slide("a", (0.0, 1.0)), slide("b", (0.0, 1.0), **unknown)], "equal").prediction
        assert p.logits_se is None and p.se_kind is None
    kinds = [slide("a", (0.0, 1.0), se_kind="nominal"), slide("b", (0.0, 1.0))]
    assert together("P", kinds, "equal").prediction.se_kind == "nominal"


def test_of_numbers_there_is_a_mean_with_its_error() -> None:
    def number(name: str, value: float) -> Prediction:
        return Prediction(
            name, "", "ok", classes=("age",), logits=(value,), logits_se=(0.6,), se_kind="unbiased",
            sampling=Sampling(positions=9), task="regression", value=value, se_value=0.6,
        )  # fmt: skip

    p = together("P", [number("a", 1.0), number("b", 4.0)], "equal").prediction
    assert (p.value, p.predicted, p.probabilities) == (2.5, None, None)
    assert p.se_value == pytest.approx(0.6 / np.sqrt(2))
    csv = groups_csv(("age",), [together("P", [number("a", 1.0)], "equal")], "regression").decode()
    assert csv.splitlines()[0].startswith("group,status,predicted,value,se_value,low_value,high_value,se_kind,")


def test_a_group_waits_for_all_of_its_slides() -> None:
    found = {"a": slide("a", (0.0, 1.0)), "c": slide("c", (0.0, 1.0)), "z": FAILED}
    groups = grouped({"c": "Q", "a": "P", "b": "P", "z": "R"}, found, "equal")
    assert [group.prediction.slide_id for group in groups] == ["Q", "R"]
    failed = groups[1]
    assert failed.prediction.error == "R: its slide could not be predicted."
    record = json.loads(json.dumps(group_dict(failed), allow_nan=False))
    assert (record["group"], record["status"], record["slides"], record["slides_failed"]) == ("R", "failed", [], ["z"])
    assert set(record) == set(group_dict(groups[0]))
