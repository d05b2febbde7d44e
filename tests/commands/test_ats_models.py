"""`ats models`: list, show, default, verify; and pull, against a stand-in of the hub's endpoints."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ats_cli.zoo.find import find_model
from tests.hub_server import COMMIT, hub

pytestmark = pytest.mark.integration

Run = Callable[..., tuple[int, str, str]]
Hub = Callable[..., "subprocess.CompletedProcess[str]"]

CLOSED = "http://127.0.0.1:9"  # nobody listens there


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATS_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("ATS_MODEL", raising=False)
    return tmp_path / "config"


def test_list_names_what_ships(ats: Run) -> None:
    status, out, _ = ats("models", "list", "--json")
    assert status == 0
    records = {record["name"]: record for record in map(json.loads, out.splitlines())}
    assert records["megapixel-digits"]["kind"] == "model"
    assert records["tissue"]["kind"] == "recipe"
    assert [name for name, record in records.items() if record["default"]] == ["colon-epithelium"]
    status, out, _ = ats("models", "list")
    assert status == 0
    (starred,) = [line for line in out.splitlines() if line.lstrip().startswith("*")]
    assert "colon-epithelium" in starred


def test_show_is_the_card(ats: Run, model: Path) -> None:
    status, out, _ = ats("models", "show", model)
    assert status == 0
    assert "light, dark" in out and "4 tiles of 32 pixels" in out and "# tiny" in out
    record = json.loads(ats("models", "show", model, "--json")[1])
    assert record["hash"] == find_model(str(model)).hash
    status, _, err = ats("models", "show", "nothing-like-it")
    assert status == 2 and "no such model folder" in err


def test_the_default_is_kept_and_comes_after_the_variable(
    ats: Run, model: Path, slides: Path, monkeypatch: pytest.MonkeyPatch, own_config: Path
) -> None:
    assert ats("models", "default")[1] == "colon-epithelium\n"
    monkeypatch.chdir(model.parent)
    status, out, err = ats("models", "default", model.name)
    assert (status, out) == (0, f"{model}\n") and "named by `ats models default`" in err
    monkeypatch.chdir("/")
    _, out, err = ats("predict", slides / "one.png", "--json")
    assert json.loads(out)["model"]["name"] == "tiny"
    assert "named by `ats models default`" in err
    monkeypatch.setenv("ATS_MODEL", "megapixel-digits")
    status, out, err = ats("models", "default")
    assert out == "megapixel-digits\n" and "ATS_MODEL" in err
    monkeypatch.delenv("ATS_MODEL")
    assert ats("models", "default", "--unset")[1] == "colon-epithelium\n"
    assert not (own_config / "config.toml").exists()


def test_no_default_that_could_not_be_used(ats: Run, own_config: Path) -> None:
    for name, said in {"tissue": "this is a recipe", "nothing-like-it": "no such model folder"}.items():
        status, _, err = ats("models", "default", name)
        assert status == 2 and said in err
    assert not own_config.exists()
    own_config.mkdir()
    (own_config / "config.toml").write_text("model = [")
    status, _, err = ats("models", "default")
    assert status == 2 and "config.toml: cannot be read" in err


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model, tmp_path / "copy")


def test_verify_says_what_is_wrong(ats: Run, copy: Path) -> None:
    assert ats("models", "verify", copy) == (0, f"{copy}: sound\n", "")

    spec = (copy / "model.toml").read_text()
    (copy / "model.toml").write_text(spec.replace("tiles = 4", "tiles = 5"))
    status, out, err = ats("models", "verify", copy)
    assert (status, out) == (1, "")
    assert "model.toml: not the file that SHA256SUMS lists" in err and len(err.splitlines()) == 1
    (copy / "model.toml").write_text(spec)

    weights = load_file(copy / "weights.safetensors")
    (copy / "SHA256SUMS").unlink()
    save_file({**weights, "head.bias": torch.tensor([0.0, float("nan")])}, copy / "weights.safetensors")
    status, _, err = ats("models", "verify", copy)
    assert status == 1 and "1 values of head.bias are NaN or infinite" in err
    save_file({**weights, "head.bias": torch.zeros(3)}, copy / "weights.safetensors")
    status, _, err = ats("models", "verify", copy)
    assert status == 1 and "the weights do not fit model.toml" in err
    (copy / "weights.safetensors").write_bytes(b"cut short")
    status, _, err = ats("models", "verify", copy)
    assert status == 1 and "not a readable safetensors file" in err
    (copy / "weights.safetensors").unlink()
    status, _, err = ats("models", "verify", copy)
    assert status == 1 and "a recipe, not a model" in err


def test_checksums_are_those_of_sha256sum(copy: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=copy, check=True, capture_output=True)


@pytest.fixture
def from_hub(model: Path, tmp_path: Path, ats_command: list[str]) -> Iterator[Hub]:
    """Run `ats ARGUMENTS` with a hub that has someone/tiny, or, `offline`, none; a cache of its own."""
    served = shutil.copytree(model, tmp_path / "served")
    (served / "weights.pkl").write_bytes(b"not to be fetched")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("no model")
    with hub({"someone/tiny": served, "someone/else": tmp_path / "empty"}) as (endpoint, requests):

        def run(*arguments: object, offline: bool = False) -> "subprocess.CompletedProcess[str]":
            env = {**os.environ, "HF_ENDPOINT": CLOSED if offline else endpoint, "HF_HOME": str(tmp_path / "hf")}
            call = [*ats_command, *map(str, arguments)]
            return subprocess.run(call, env=env, capture_output=True, text=True, check=False)

        run.requests = requests  # type: ignore[attr-defined]
        yield run


def test_pull_fetches_a_model_and_nothing_else(from_hub: Hub, model: Path, slides: Path) -> None:
    done = from_hub("models", "pull", "hf://someone/tiny")
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert COMMIT in folder.parts
    for name in ("model.toml", "weights.safetensors", "README.md", "metrics.json", "SHA256SUMS"):
        assert (folder / name).read_bytes() == (model / name).read_bytes()
    assert not (folder / "weights.pkl").exists()
    assert not [r for r in from_hub.requests if "pkl" in r]  # type: ignore[attr-defined]

    # What was fetched is used without a connection, by the same name, with the same answer.
    call = ("predict", slides / "one.png", "--json", "--quiet")
    offline = from_hub(*call, "-m", "hf://someone/tiny", offline=True)
    assert offline.returncode == 0, offline.stderr
    here = from_hub(*call, "-m", model)
    assert json.loads(offline.stdout)["logits"] == json.loads(here.stdout)["logits"]
    listed = from_hub("models", "list", "--json", offline=True)
    assert "hf://someone/tiny" in [json.loads(line)["name"] for line in listed.stdout.splitlines()]
    assert from_hub("models", "verify", "hf://someone/tiny", offline=True).returncode == 0


def test_what_cannot_be_fetched_is_a_sentence(from_hub: Hub) -> None:
    for name, offline, said in (
        ("hf://someone/nothing", False, "not on the hub, or private"),
        ("hf://someone/tiny@v9", False, "the hub has no revision v9"),
        ("hf://someone/else", False, "has no model.toml"),
        ("hf://someone", False, "Write hf://owner/name"),
        ("someone/tiny", False, "not a model of the hub"),
        ("hf://someone/tiny", True, "the hub cannot be reached, and this model has not been fetched before"),
    ):
        done = from_hub("models", "pull", name, offline=offline)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
