"""`ats doctor`: a working installation passes; what is broken is named, with what to do about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ats_cli.app import run
from ats_cli.doctor.codecs import TIFF_CODECS
from tests.small import write_model

Findings = dict[str, dict[str, str]]


def doctor(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Findings]:
    """Run `ats doctor --json` and return its status and the findings by name."""
    status = run(["doctor", "--json", *arguments])
    findings = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert all(set(finding) == {"area", "name", "status", "detail", "advice"} for finding in findings)
    assert all(finding["advice"] for finding in findings if finding["status"] != "ok")
    return status, {finding["name"]: finding for finding in findings}


@pytest.mark.integration
def test_an_installation_that_works_passes_and_every_codec_is_tried(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, findings = doctor(capfd, "--model", str(write_model(tmp_path / "model")), "--device", "cpu")
    assert status == 0
    assert {f"TIFF, {codec}" for codec in TIFF_CODECS} < set(findings)
    assert all(findings[name]["status"] == "ok" for name in findings if findings[name]["area"] in ("Codecs", "Readers"))
    assert run(["doctor", "--model", str(tmp_path / "model")]) == 0
    assert "All works" in capfd.readouterr().out


def test_a_codec_that_decodes_to_wrong_pixels_or_is_missing_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    decompressors = tifffile.TIFF.DECOMPRESSORS

    def broken(*_: object, **__: object) -> bytes:
        raise ImportError("libzstd.so.1: cannot open shared object file")

    monkeypatch.setitem(decompressors._codecs, tifffile.COMPRESSION.ZSTD, broken)
    lzw = decompressors[tifffile.COMPRESSION.LZW]
    inverted = lambda *a, **k: bytes(np.invert(np.frombuffer(lzw(*a, **k), np.uint8)))  # noqa: E731
    monkeypatch.setitem(decompressors._codecs, tifffile.COMPRESSION.LZW, inverted)
    status, findings = doctor(capfd, "--model", str(write_model(tmp_path / "model")))
    assert status == 1
    failed = {name: finding["detail"] for name, finding in findings.items() if finding["status"] == "failed"}
    assert set(failed) == {"TIFF, Zstandard", "TIFF, LZW"}
    assert "imagecodecs" in findings["TIFF, LZW"]["advice"]


def test_a_missing_model_and_a_missing_gpu_are_failures_with_advice(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status, findings = doctor(capfd, "--model", str(tmp_path / "none"), "--device", "cuda:99")
    assert status == 1
    assert "no such model folder" in findings[str(tmp_path / "none")]["detail"]
    assert findings["--device cuda:99"]["status"] == "failed"


def test_a_folder_that_cannot_be_written_to_is_a_failure(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_model(tmp_path / "model")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ATS_CONFIG", str(tmp_path / "file" / "below"))
    status, findings = doctor(capfd, "--model", str(model))
    assert status == 1 and findings["settings"]["status"] == "failed"
