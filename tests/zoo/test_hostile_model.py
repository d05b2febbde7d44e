"""A damaged or hostile model folder is refused in a sentence; what cannot be known gives finite figures at least."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from small import noise, random_nets, small_spec, write_model, write_slide

from ats_cli.errors import ModelError, SlideError
from ats_cli.inference import predict_slide
from ats_cli.inference.draws.options import DrawOptions
from ats_cli.slides import Slide, open_slide
from ats_cli.zoo import load_model, read_folder
from ats_cli.zoo.load import fingerprint
from ats_cli.zoo.out_of_distribution import fit, write_out_of_distribution
from ats_cli.zoo.sums import write_sums
from ats_cli.zoo.verify import verify

SUMS = "SHA256SUMS"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with all its files."""
    folder = write_model(tmp_path / "model", small_spec(notice="For trying out.\nOnly."))
    weights = fingerprint(random_nets(small_spec()).state_dict())
    found = fit(np.random.default_rng(0).normal(size=(30, 11)), np.empty((0, 11)), 4, weights)
    assert found is not None
    write_out_of_distribution(folder, found)
    write_sums(folder)
    assert load_model(folder).out_of_distribution is not None
    return folder


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Slide:
    return open_slide(write_slide(tmp_path_factory.mktemp("s") / "a.tif", noise(90, 120)))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and message.endswith(".") and len(message) < 1000
    return message


@pytest.mark.integration
@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["model.toml", "weights.safetensors", "familiarity.safetensors", SUMS]),
    at=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_is_refused_where_there_are_checksums(
    tmp_path_factory: pytest.TempPathFactory, name: str, at: float, bit: int
) -> None:
    folder = made(tmp_path_factory.mktemp("m"))
    file = folder / name
    content = bytearray(file.read_bytes())
    content[int(at * len(content))] ^= 1 << bit
    file.write_bytes(content)
    try:
        load_model(folder)
    except ModelError as error:
        assert len(str(error).splitlines()) == 1
        assert verify(folder)
    else:
        # A digest in capitals is the same digest; a name that is not one of ours lists nothing that is compared.
        assert name == SUMS


def made(folder: Path) -> Path:
    model = write_model(folder / "model", small_spec())
    found = fit(np.random.default_rng(0).normal(size=(30, 11)), np.empty((0, 11)), 4, head_of(model))
    assert found is not None
    write_out_of_distribution(model, found)
    write_sums(model)
    return model


def head_of(folder: Path) -> str:
    import torch

    return fingerprint({k: torch.from_numpy(v) for k, v in load_file(folder / "weights.safetensors").items()})


@pytest.mark.integration
@settings(max_examples=80, deadline=None)
@given(
    name=st.sampled_from(["weights.safetensors", "weights.safetensors", "familiarity.safetensors"]),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=3),
    confidence=st.sampled_from([None, 0.9]),
)
def test_without_checksums_figures_are_finite_or_there_is_a_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    slide: Slide,
    name: str,
    flips: list[tuple[float, int]],
    confidence: float | None,
) -> None:
    folder = made(tmp_path_factory.mktemp("m"))
    (folder / SUMS).unlink()
    content = bytearray((folder / name).read_bytes())
    for at, bit in flips:
        content[int(at * len(content))] ^= 1 << bit
    (folder / name).write_bytes(content)
    try:
        found = predict_slide(slide, load_model(folder), DrawOptions(tiles=6, confidence=confidence))
    except (ModelError, SlideError) as error:
        assert len(str(error).splitlines()) == 1
        return
    figures = [*(found.probabilities or ()), *(found.logits or ()), *(found.se or ()), *(found.logits_se or ())]
    figures += [value for tile in found.drawn for value in (*tile.shares, *tile.probabilities, tile.attention)]
    assert all(map(math.isfinite, figures))


@pytest.mark.integration
@pytest.mark.parametrize("part", ["attention.last.weight", "features.backbone.layers.0.weight", "head.weight"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_weights_that_are_no_numbers_or_lead_to_none(folder: Path, slide: Slide, part: str, value: float) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights[part] = np.full_like(weights[part], value)
    weights[part].flat[::2] *= -1
    save_file(weights, folder / "weights.safetensors")
    (folder / SUMS).unlink()
    (folder / "familiarity.safetensors").unlink()
    if not np.isfinite(value):
        assert f"values of {part} are NaN or infinite" in refused(folder)
        return
    for how in ({}, {"confidence": 0.9}, {"exhaustive": True}, {"sampler": "murthy"}):
        try:
            found = predict_slide(slide, load_model(folder), DrawOptions(tiles=6, **how))  # type: ignore[arg-type]
        except SlideError as error:
            assert "give NaN or infinity" in str(error)
        else:
            assert found.logits is not None and all(map(math.isfinite, found.logits))


def change(**keys: Any) -> Callable[[dict[str, Any]], None]:
    def changed(table: dict[str, Any]) -> None:
        for key, value in keys.items():
            *tables, last = key.split("__")
            inner = table
            for name in tables:
                inner = inner[name]
            inner[last] = value

    return changed


@pytest.mark.integration
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (change(attention__channels=[1_000_000_000]), "attention.channels[0] must be"),
        (change(attention__channels=[4] * 1000), "1000 layers, more than 16"),
        (change(features__channels=[4, 4, 4, 10**12]), "features.channels[3] must be"),
        (change(attention__scale=1e300), "attention.scale must be"),
        (change(attention__scale=1e-300), "attention.scale must be"),
        (change(features__scale=1e300), "features.scale must be"),
        (change(features__patch_size=10**9), "features.patch_size must be"),
        (change(attention__stride=10**9), "attention.stride must be"),
        (change(attention__prior_strength=1e300), "attention.prior_strength must"),
        (change(head_scale=1e300), "head_scale must be"),
        (change(tiles=10**18), "tiles must be"),
        (change(mean=[1e300, 0.5, 0.5]), "mean[0] must"),
        (change(std=[1e-300, 0.5, 0.5]), "std[0] must"),
        (change(background=-(10**30)), "background must be 0 or more"),
        (change(training__entropy_weight=math.nan), "training.entropy_weight must"),
        (change(features__options={"checkpoint_path": "x.pth"}), "weights come from the model folder only"),
        (change(features__options={"pretrained": True}), "weights come from the model folder only"),
        (change(features__options={"depth": 1e300}), "features.options.depth must be between"),
        (change(features__options={"a": {"b": {"c": 1}}}), "features.options.a must be a number"),
    ],
)
def test_numbers_beyond_all_bounds_are_refused(
    folder: Path, changed: Callable[[dict[str, Any]], None], says: str
) -> None:
    (folder / SUMS).unlink()
    table = tomllib.loads((folder / "model.toml").read_text())
    changed(table)
    (folder / "model.toml").write_text(tomli_w.dumps(table))
    assert says in refused(folder)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("tiles = " + "9" * 5000, "not valid TOML"),
        ("tiles = 0x" + "f" * 5000, "tiles must be"),
        ("schema_version = 0x" + "f" * 5000, "Update ats"),
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("x = " + "{a = " * 5000 + "1" + "}" * 5000, "nested too deep"),
        ("x." * 2000 + "y = 1", "nested too deep"),
        ("# " + "x" * (1 << 20), "larger than"),
    ],
)
def test_a_description_that_is_made_to_break_its_reader(folder: Path, line: str, says: str) -> None:
    (folder / SUMS).unlink()
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(f"{line}\n" + text.replace("tiles = 4", "").replace("schema_version = 1", ""))
    assert says in refused(folder)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400)])
    | st.floats()
    | st.text(max_size=20)
    | st.text("\x1b]0[;m\x07\n\u202e", max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: value is not None)


@pytest.mark.integration
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_of_any_key_is_read_or_refused_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("m")
    table: dict[str, Any] = tomllib.loads((write_model(folder / "model") / "model.toml").read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        inner = table
        inside = data.draw(st.sampled_from(["", "attention", "features", "training"]))
        if inside and isinstance(table.get(inside), dict):
            inner = table[inside]
        key = data.draw(st.sampled_from([*sorted(inner), "options", "notice", "classes"]) | st.text(max_size=6))
        inner[key] = data.draw(VALUES)
    (folder / "model" / SUMS).unlink()
    try:
        text = tomli_w.dumps(table)
    except (TypeError, ValueError):  # no TOML has such a value
        return
    (folder / "model" / "model.toml").write_text(text, encoding="utf-8", errors="replace")
    try:
        spec = load_model(folder / "model").spec
    except ModelError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 2000
    else:
        assert (spec.name + "".join(spec.classes)).isprintable() and "\x1b" not in spec.notice + spec.description


def test_texts_of_a_model_are_only_shown(folder: Path) -> None:
    (folder / SUMS).unlink()
    text = (folder / "model.toml").read_text()
    evil = r"\u001b]52;c;ZXZpbA==\u0007\u202e"
    text = text.replace("For trying", f"{evil}For trying").replace('"dark"', f'"{evil}dark"')
    (folder / "model.toml").write_text(text.replace('name = "', f'name = "{evil}'))
    spec = read_folder(folder).spec
    assert (spec.name, spec.classes) == ("small", ("bright", "dark"))
    assert spec.notice == "For trying out.\nOnly."
    (folder / "model.toml").write_text(text.replace('    "bright"', f'    "{evil}dark"'))
    assert "same class twice" in refused(folder)


@pytest.mark.integration
@pytest.mark.parametrize("content", [b"", b"cut short", b"\0" * 200, None])
def test_a_broken_familiarity_is_no_silence(folder: Path, content: bytes | None) -> None:
    (folder / SUMS).unlink()
    file = folder / "familiarity.safetensors"
    file.write_bytes(file.read_bytes()[:-9] if content is None else content)
    assert "familiarity.safetensors: cannot be read" in refused(folder)
    file.unlink()
    assert load_model(folder).out_of_distribution is None


@pytest.mark.integration
@pytest.mark.parametrize("name", ["model.toml", "weights.safetensors", "README.md", SUMS, "familiarity.safetensors"])
def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    file, outside = folder / name, tmp_path / "outside"
    content = file.read_bytes()
    file.rename(outside)
    for target in (outside, Path("../outside"), Path("/etc/hostname"), Path("nowhere")):
        file.symlink_to(target)
        if target == Path("nowhere"):
            break
        assert f"{name}: a link that leads out of the model's folder" in refused(folder)
        file.unlink()
    file.unlink()
    file.mkdir()
    assert f"{name}: not a file" in refused(folder)
    file.rmdir()
    (folder / "inside").write_bytes(content)
    file.symlink_to("inside")
    load_model(folder)


def test_a_folder_by_a_link_and_one_of_the_hub_are_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "staged").symlink_to(folder)
    load_model(tmp_path / "staged")
    blobs, snapshot = tmp_path / "repo" / "blobs", tmp_path / "repo" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        (blobs / str(number)).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(os.path.relpath(blobs / str(number), snapshot))
    load_model(snapshot)


def test_an_old_folder_without_checksums_is_read(folder: Path) -> None:
    (folder / SUMS).unlink()
    load_model(folder)
    (folder / SUMS).write_text("0" * 64 + "  other-file\n")
    assert "not the file that SHA256SUMS lists" in refused(folder)


def test_a_model_that_is_trained_anew_into_its_folder_leaves_nothing_of_the_old(folder: Path) -> None:
    write_model(folder, small_spec(), seed=3)
    assert load_model(folder).out_of_distribution is None
