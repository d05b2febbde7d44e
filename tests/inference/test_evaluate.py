"""Labelled slides, and what several budgets say of them."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ats_cli.errors import AtsError
from ats_cli.inference import predict_many
from ats_cli.inference.draws.truncate_to_budget import truncate_to_budget
from ats_cli.inference.evaluate import at_budgets, labelled_sources
from ats_cli.results.record import prediction_dict
from ats_cli.slides import SlideSource
from ats_cli.zoo import LoadedModel
from tests.small import damage, noise, random_model, small_spec, write_slide

CLASSES = ("bright", "dark")


@pytest.mark.integration
@pytest.mark.parametrize("sampler", ["murthy", "without-replacement"])
def test_fewer_tiles_of_a_race_are_a_draw_of_fewer(tmp_path: Path, sampler: str) -> None:
    path = damage(write_slide(tmp_path / "one.tif", noise(200, 260)), 5)
    model = random_model(small_spec())
    how = {"sampler": sampler, "max_unreadable": 1.0}
    (longest,) = predict_many([SlideSource("one", path)], model, tiles=40, **how)
    assert longest.status == "ok" and longest.sampling.tiles_unreadable
    for tiles in (1, 2, 7, 39, 40):
        (fresh,) = predict_many([SlideSource("one", path)], model, tiles=tiles, **how)
        derived = truncate_to_budget(longest, tiles, 1.0)
        a, b = prediction_dict(derived), prediction_dict(fresh)
        for name in ("probabilities", "se", "logits", "logits_se", "attention_mass", "mass_unreadable"):
            assert a[name] == pytest.approx(b[name], abs=1e-6), (tiles, name)
        for name in ("predicted", "tiles", "tiles_unreadable", "se_kind", "bytes_view"):
            assert a[name] == b[name], (tiles, name)
        assert derived.cost.bytes_view <= derived.cost.bytes_read <= longest.cost.bytes_read


@pytest.fixture(scope="module")
def small_model():
    return random_model(small_spec())


@pytest.mark.integration
@settings(max_examples=25, deadline=None)
@given(
    st.sets(st.integers(0, 19), max_size=12),
    st.sampled_from(["murthy", "without-replacement"]),
    st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.9]),
    st.sets(st.integers(1, 40), min_size=1, max_size=4),
)
def test_a_slide_with_damage_fails_at_the_budgets_at_which_it_would_alone(
    tmp_path_factory: pytest.TempPathFactory,
    small_model: LoadedModel,
    damaged: set[int],
    sampler: str,
    most: float,
    budgets: set[int],
) -> None:
    path = write_slide(tmp_path_factory.mktemp("slides") / "one.tif", noise(200, 260))
    source = SlideSource("one", damage(path, *damaged))
    how = {"sampler": sampler, "max_unreadable": most}

    def predict(tiles: int | None):
        return predict_many([source], small_model, tiles=tiles, **how)

    found = dict(at_budgets(sorted(budgets), sampler, False, predict, most))
    if found[max(budgets)].status == "failed":
        return  # it is then in the figures of no budget
    for tiles in budgets:
        (alone,) = predict(tiles)
        assert (found[tiles].status, found[tiles].failure) == (alone.status, alone.failure), tiles
        if alone.status == "failed":
            assert found[tiles].error is not None and found[tiles].error.startswith("one.tif: ")
            for name in ("predicted", "probabilities", "se", "logits", "logits_se", "value", "tiles"):
                assert prediction_dict(found[tiles])[name] is None, name
            assert found[tiles].tile_arrays is None
        else:
            assert found[tiles].logits == pytest.approx(alone.logits, abs=1e-6)


def test_only_races_are_read_once(tmp_path: Path) -> None:
    source = SlideSource("one", write_slide(tmp_path / "one.tif", noise(100, 100)))
    model = random_model(small_spec())
    for sampler, stops, passes in (("murthy", False, [9]), ("pivotal", False, [3, 9]), ("murthy", True, [3, 9])):
        asked: list[int | None] = []

        def predict(tiles: int | None, sampler: str = sampler, asked: list[int | None] = asked):
            asked.append(tiles)
            return predict_many([source], model, tiles=tiles, sampler=sampler)

        found = list(at_budgets([3, 9], sampler, stops, predict))
        assert asked == passes
        assert [(budget, p.sampling.tiles) for budget, p in found] == [(3, 3), (9, 9)]


def test_a_folder_with_a_subfolder_a_class(tmp_path: Path) -> None:
    for place in ("bright/a", "bright/b", "dark/a"):
        write_slide(tmp_path / f"{place}.tif", noise(32, 32))
    found, rows = labelled_sources(tmp_path, None, 0.5, CLASSES)
    assert (rows.as_dict()["taken"], rows.as_dict()["left"]) == (3, 0)
    assert [(f.source.slide_id, f.label) for f in found] == [
        ("bright/a", "bright"),
        ("b", "bright"),
        ("dark/a", "dark"),
    ]
    assert {f.source.mpp for f in found} == {0.5}
    assert len({f.group for f in found}) == 3
    with pytest.raises(AtsError, match=r"no folders for the parts of a split\. Leave out --split"):
        labelled_sources(tmp_path, None, None, CLASSES, "val")
    write_slide(tmp_path / "Dark" / "a.tif", noise(32, 32))
    with pytest.raises(AtsError, match=r'"Dark" is not a class of the model.*Did you mean "dark"\?'):
        labelled_sources(tmp_path, None, None, CLASSES)


def test_a_manifest_has_labels_groups_and_splits(tmp_path: Path) -> None:
    manifest = tmp_path / "labels.csv"
    manifest.write_text(
        "slide,label,group,split,mpp\na.tif,bright,p1,test,\nb.tif,dark,p1,test,0.3\nc.tif,dark,,train,\n"
    )
    found, _ = labelled_sources(None, manifest, 0.5, CLASSES)
    assert [(f.source.slide_id, f.label, f.group, f.source.mpp) for f in found] == [
        ("a", "bright", "p1", 0.5),
        ("b", "dark", "p1", 0.3),
    ]
    assert [f.group for f in labelled_sources(None, manifest, None, CLASSES, "train")[0]] == ["c"]
    for text, said in {
        "slide,label\na.tif,Bright\n": 'row 2: "Bright" is not a class of the model, which knows bright, dark. '
        'Did you mean "bright"? Correct the label.',
        "slide,label\na.tif,7\n": '"7" is not a class of the model',
        "slide,label\na.tif,\nb.tif,dark\n": "row 2 has no label. Fill in the column label.",
        "slide\na.tif\n": "row 2 has no label",
    }.items():
        manifest.write_text(text)
        with pytest.raises(AtsError) as error:
            labelled_sources(None, manifest, None, CLASSES)
        assert said in str(error.value)
    with pytest.raises(AtsError, match=r"no row of split .val.\. Its splits: none\."):
        labelled_sources(None, manifest, None, CLASSES, "val")
