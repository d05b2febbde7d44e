"""A model folder: what is written is read back, and what is wrong with one is said in a sentence."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from small import SPEC, random_nets, small_spec, write_model

from ats_cli.errors import ModelError
from ats_cli.zoo import load_model, read_folder, save_model
from ats_cli.zoo.find import find_model, find_recipe, model_names, recipe_names, shipped_folder
from ats_cli.zoo.folder import write_spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def edit(folder: Path, old: str, new: str) -> None:
    file = folder / "model.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    (folder / "SHA256SUMS").unlink()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    spec = small_spec(
        {"stride": 2, "tissue_only": True},
        {"flips": True, "lr": 1e-3, "sampler": "without-replacement"},
        notice="For trying out.",
        mean=(0.1, 0.2, 0.3),
        unit="um",
        classes=("Ä, b", 'with "quotes"', "c\\d"),
    )
    nets = random_nets(spec)
    save_model(tmp_path / "new" / "model", nets, {"accuracy": 0.5}, "# A card\n")
    files = sorted(path.name for path in (tmp_path / "new" / "model").iterdir())
    assert files == ["README.md", "SHA256SUMS", "metrics.json", "model.toml", "weights.safetensors"]
    assert json.loads((tmp_path / "new" / "model" / "metrics.json").read_text()) == {"accuracy": 0.5}

    loaded = load_model(tmp_path / "new" / "model")
    assert loaded.spec == spec
    assert loaded.name == "small"
    assert not loaded.nets.training and not any(p.requires_grad for p in loaded.nets.parameters())
    for name, tensor in nets.state_dict().items():
        assert torch.equal(loaded.nets.state_dict()[name], tensor), name
    view = torch.rand(1, 3, 20, 20)
    assert torch.equal(loaded.nets.attend(view), nets.attend(view))


def test_everything_that_ships_is_in_order() -> None:
    for name in recipe_names():
        folder = find_recipe(name)
        assert folder.spec.name == name
        random_nets(replace(folder.spec, classes=folder.spec.classes or ("a", "b")))
        if folder.has_weights:
            load_model(folder)
            assert (folder.path / "README.md").is_file() and (folder.path / "metrics.json").is_file()
    assert set(model_names()) <= set(recipe_names())
    assert "digits-small" in recipe_names()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tiles = 4", "tilez = 4", ['unknown key "tilez"', 'did you mean "tiles"?']),
        ("stride = 1", "strde = 1", ["[attention]", 'did you mean "stride"?']),
        ("patch_size = 16", "patchsize = 16", ["[features]", 'did you mean "patch_size"?']),
        ("freeze = 0.15", "qqq = 0.15", ["[training]", "known keys: steps, "]),
        ("tiles = 4", 'tiles = "many"', ["tiles:"]),
        ("tiles = 4", "tiles = 0", ["tiles must be a number above 0"]),
        ("patch_size = 16", "patch_size = 16.5", ["features.patch_size:"]),
        ('unit = "px"', 'unit = "mm"', ["unit:", "'um' or 'px'"]),
        ('prior = "bright"', 'prior = "white"', ["attention.prior:"]),
        ('sampler = "systematic"', 'sampler = "dice"', ["training.sampler", "systematic"]),
        ('unit = "px"\n', "", ["unit:", "required"]),
        ("scale = 4.0", "scale = -4.0", ["attention.scale must be a number above 0"]),
        ("scale = 4.0", "scale = nan", ["attention.scale"]),
        ("scale = 4.0", "scale = inf", ["attention.scale"]),
        ("validate_every = 4", "validate_every = 0", ["training.validate_every"]),
        ("background = 0", "background = 256", ["background must be 0 or more, at most 255"]),
        ("freeze = 0.15", "freeze = 15", ["training.freeze"]),
        ("lr = 0.002", "lr = -1", ["training.lr must be 0 or more, not -1"]),
        ("lr = 0.002", "lr = nan", ["training.lr"]),
        ("[\n    4,\n]", "[\n    0,\n]", ["attention.channels[0]"]),
        ('"bright",\n    "dark",\n', '"dark",\n    "dark",\n', ["same class twice"]),
        ("schema_version = 1", "schema_version = 2", ["schema_version 2", "Update ats"]),
        ("[features]", "[features", ["not valid TOML"]),
        ('net = "cnn"', 'net = "vgg"', ["vgg", "timm"]),
        ('net = "cnn"', 'net = "timm:no_such_net"', ["timm:no_such_net"]),
        ("std = [", "std = [ 0.25,", ["std"]),
    ],
)
def test_what_is_wrong_is_named(folder: Path, old: str, new: str, words: list[str]) -> None:
    edit(folder, old, new)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for word in [str(folder) if "net" not in old else "feature net", *words]:
        assert word in message


@pytest.mark.parametrize("table", ["attention", "features", "training"])
def test_a_table_that_is_a_number_is_wrong(folder: Path, table: str) -> None:
    values: dict[str, Any] = {"name": "a", "unit": "px", "attention": {"scale": 4}}
    values["features"] = {"scale": 1, "patch_size": 8}
    (folder / "model.toml").write_text(tomli_w.dumps({**values, table: 3}))
    with pytest.raises(ModelError, match=table):
        read_folder(folder)


def test_a_file_that_is_no_text_is_wrong(folder: Path) -> None:
    (folder / "model.toml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ModelError, match="not valid TOML"):
        read_folder(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"classes": ("one", "two", "three")},
        {"attention": replace(SPEC.attention, channels=(4, 4))},
        {"features": replace(SPEC.features, channels=(8, 4, 4, 4))},
    ],
)
def test_weights_of_another_model_do_not_fit(folder: Path, changed: dict[str, Any], tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", replace(SPEC, **changed))
    (folder / "weights.safetensors").write_bytes((other / "weights.safetensors").read_bytes())
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors: the weights do not fit model\.toml \(.+\)\.$"):
        load_model(folder)


def test_weights_cut_short_or_something_else(folder: Path) -> None:
    file = folder / "weights.safetensors"
    whole = file.read_bytes()
    (folder / "SHA256SUMS").unlink()
    for content in (whole[: len(whole) // 2], whole[:5], b"", b"nonsense" * 100, pickle.dumps({"head.bias": 1})):
        file.write_bytes(content)
        with pytest.raises(ModelError, match=r"weights\.safetensors: not a readable safetensors file .*good copy") as e:
            load_model(folder)
        assert len(str(e.value).splitlines()) == 1


def test_a_recipe_is_no_model_yet(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    assert not find_recipe(str(folder)).has_weights
    with pytest.raises(ModelError, match=r"this is a recipe.*ats train DATA --recipe"):
        find_model(str(folder))
    for given in (folder, find_recipe(str(folder))):
        with pytest.raises(ModelError, match=r"recipe|safetensors"):
            load_model(given)


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model\.toml in this folder"):
        find_model(str(tmp_path))


def test_found_by_folder_by_file_and_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(str(folder)).spec == SPEC
    assert find_model(str(folder / "model.toml")).path == folder
    monkeypatch.chdir(folder.parent)
    assert find_model("model").spec == SPEC, "a folder here"
    assert find_recipe("digits-small").path == shipped_folder() / "digits-small"
    with pytest.raises(ModelError, match=r"no-such: no such model folder.*digits-small"):
        find_recipe("no-such")
    for name in ("", "..", "digits-small/../digits-small/nothing"):
        with pytest.raises(ModelError):
            find_recipe(name)


def test_a_file_of_any_name_is_a_recipe(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a model, too: it is that file that counts, and the model's weights are not its own."""
    mine = folder / "mine.toml"
    write_spec(replace(SPEC, tiles=7), mine)
    for name in (str(mine), f"{folder}/../model/mine.toml"):
        found = find_recipe(name)
        assert (found.spec.tiles, found.has_weights) == (7, False)
        assert found.hash == hashlib.sha256(mine.read_bytes()).hexdigest()[:16]
    monkeypatch.chdir(folder)
    assert find_recipe("mine.toml").path == mine
    assert find_recipe("model.toml").has_weights, "the file of a model is the model"
    with pytest.raises(ModelError, match=r"mine\.toml: no weights.*this is a recipe"):
        find_model("mine.toml")
    with pytest.raises(ModelError, match=r"other\.toml: no such file"):
        find_recipe("other.toml")
    (folder / "notes.txt").write_text("tiles = 7")
    with pytest.raises(ModelError, match=r"notes\.txt: not a recipe\. A recipe is a \.toml file"):
        find_recipe("notes.txt")
    for content, problem in (
        ("tiles = [", "not valid TOML"),
        ("tiels = 7", 'unknown key "tiels"; did you mean "tiles"'),
    ):
        mine.write_text(content)
        with pytest.raises(ModelError, match=rf"mine\.toml: {problem}"):
            find_recipe("mine.toml")


def test_slides_in_a_folder_called_as_a_shipped_model_is_do_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits-small" / "slides").mkdir(parents=True)
    assert find_recipe("digits-small").path == shipped_folder() / "digits-small"
    write_model(tmp_path / "digits-small", replace(SPEC, name="mine"))
    assert find_recipe("digits-small").spec.name == "mine"
    with pytest.raises(ModelError, match=r"no model\.toml"):
        find_recipe("./digits-small/slides")


def test_the_environment_names_the_model_and_the_option_wins(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_model(tmp_path / "other", replace(SPEC, name="other"))
    monkeypatch.setenv("ATS_MODEL", str(folder))
    found = find_model()
    assert (found.spec.name, "ATS_MODEL" in found.chosen_because) == ("small", True)
    found = find_model(str(other))
    assert (found.spec.name, "--model" in found.chosen_because) == ("other", True)
    monkeypatch.setenv("ATS_MODEL", "no-such")
    with pytest.raises(ModelError, match="no-such"):
        find_model()
    monkeypatch.setenv("ATS_MODEL", "")
    assert "colon-epithelium" in find_recipe("colon-epithelium").spec.name
    try:
        assert find_model().spec.name == "colon-epithelium"
    except ModelError as error:
        assert "colon-epithelium" in str(error)


def test_the_hash_is_of_what_makes_the_answer(folder: Path, tmp_path: Path) -> None:
    first = read_folder(folder).hash
    assert read_folder(write_model(tmp_path / "again")).hash == first
    (folder / "README.md").write_text("another card")
    assert read_folder(folder).hash == first
    assert read_folder(write_model(tmp_path / "other weights", seed=1)).hash != first
    assert read_folder(write_model(tmp_path / "other tiles", replace(SPEC, tiles=5))).hash != first


def test_a_model_cut_off_while_it_is_written_has_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("ats_cli.zoo.load.save", full)
    with pytest.raises(OSError, match="no space"):
        write_model(tmp_path / "model")
    assert not find_recipe(str(tmp_path / "model")).has_weights
