"""Slides in S3, as moto serves it on this machine: signed URLs where they do, the client where they do not."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from range_server import range_server
from slide_pictures import picture

from ats_cli.errors import SlideError
from ats_cli.slides import open_slide
from ats_cli.slides.remote import retries as remote_tries
from ats_cli.slides.remote.answer import TemporaryFailure
from ats_cli.slides.remote.http_object import HttpObject
from ats_cli.slides.remote.s3_object import S3Object

pytestmark = pytest.mark.integration

boto3 = pytest.importorskip("boto3")
moto_server = pytest.importorskip("moto.server")

EXAMPLE = Path(__file__).parents[2] / "examples" / "CMU-1-Small-Region.svs"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIDs3cr3t",
        "AWS_SECRET_ACCESS_KEY": "s3cr3t",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote_tries, "FIRST_PAUSE", 0.001)
    client = boto3.client("s3")
    client.create_bucket(Bucket="slides")
    client.put_object(Bucket="slides", Key="a b/x+y.svs", Body=EXAMPLE.read_bytes())
    s3fs.S3FileSystem.clear_instance_cache()
    yield client
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def requests() -> Iterator[list[str]]:
    """The lines that the server logs of requests for objects: those of signed URLs have a signature."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "GET /slides/" in record.getMessage():
                lines.append(record.getMessage())

    log, handler = logging.getLogger("werkzeug"), Collect()
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.INFO)
    yield lines
    log.removeHandler(handler)
    log.propagate = propagate
    log.setLevel(level)


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("signs", [True, False])
def test_the_same_pixels(monkeypatch: pytest.MonkeyPatch, requests: list[str], signs: bool) -> None:
    if not signs:

        async def refuse(self: HttpObject, start: int, stop: int) -> Any:
            raise TemporaryFailure("no URL is signed here")

        monkeypatch.setattr(HttpObject, "get", refuse)
    slide = open_slide("s3://slides/a b/x+y.svs")
    assert np.array_equal(slide.read_view(8), open_slide(EXAMPLE).read_view(8))
    assert slide.identity == "x+y.svs" and slide.bytes_total == EXAMPLE.stat().st_size
    assert len(requests) > 1
    # The first range goes through the client; the others to a URL that it signs.
    assert ["Signature=" in line for line in requests] == [False, *[signs] * (len(requests) - 1)]


@pytest.mark.usefixtures("bucket")
def test_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, failing = S3Object.get, [TemporaryFailure("the server answers 500", answered=True)] * 3

    async def sometimes(self: S3Object, start: int, stop: int) -> Any:
        if failing:
            raise failing.pop()
        return await real(self, start, stop)

    monkeypatch.setattr(S3Object, "get", sometimes)
    assert open_slide("s3://slides/a b/x+y.svs").width == 2220
    assert not failing


def test_a_version_is_the_one_that_is_named(bucket: Any) -> None:
    bucket.put_bucket_versioning(Bucket="slides", VersioningConfiguration={"Status": "Enabled"})
    old = bucket.put_object(Bucket="slides", Key="v.svs", Body=EXAMPLE.read_bytes())["VersionId"]
    bucket.put_object(Bucket="slides", Key="v.svs", Body=b"another thing")
    assert open_slide(f"s3://slides/v.svs?versionId={old}").read_view(8).shape == (371, 278, 3)
    with pytest.raises(SlideError, match=r"^v\.svs: this file is read from a local disk only"):
        open_slide("s3://slides/v.svs")


def test_sentences(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    with pytest.raises(SlideError, match=r"^none\.svs: no such file at s3://slides/none\.svs \(NoSuchKey\)"):
        open_slide("s3://slides/none.svs")
    with pytest.raises(SlideError, match=r"^x\.svs: no such file at s3://nowhere/x\.svs \(NoSuchBucket\)"):
        open_slide("s3://nowhere/x.svs")
    slide = open_slide("s3://slides/a b/x+y.svs")
    bucket.put_object(Bucket="slides", Key="a b/x+y.svs", Body=EXAMPLE.read_bytes()[:-1] + b"!")
    with pytest.raises(SlideError, match=r"^x\+y\.svs: the file was changed while it was read"):
        slide.read_view(8)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(SlideError, match=r"^z\.svs: no credentials for S3 were found"):
        open_slide("s3://slides/z.svs")


@pytest.mark.usefixtures("bucket")
def test_an_empty_object_is_said_to_be_empty(bucket: Any) -> None:
    bucket.put_object(Bucket="slides", Key="empty.svs", Body=b"")
    for download in (False, True):
        with pytest.raises(SlideError, match=r"^empty\.svs: the file is empty\. Upload it again\.$"):
            open_slide("s3://slides/empty.svs", download=download)


@pytest.mark.usefixtures("bucket")
def test_fetched_whole(bucket: Any, own_cache: Path) -> None:
    bucket.put_object(Bucket="slides", Key="a.dat", Body=EXAMPLE.read_bytes())
    with open_slide("s3://slides/a.dat", backend="openslide", download=True) as slide:
        assert np.array_equal(slide.read_view(8), open_slide(EXAMPLE, backend="openslide").read_view(8))
        assert slide.reader == "openslide"
    assert not list((own_cache / "downloads").iterdir())


@pytest.mark.usefixtures("bucket")
def test_a_server_that_sends_all_of_an_object_whatever_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    with range_server(ranges=False, files={"/slides/large.svs": EXAMPLE.read_bytes()}) as web:
        small = io.BytesIO()
        tifffile.imwrite(small, picture(64, 64), tile=(16, 16), photometric="rgb", metadata=None)
        web.files["/slides/small.tif"] = small.getvalue()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{web.port}")
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(SlideError, match=r"^large\.svs: this server gives whole files only, no byte ranges"):
            open_slide("s3://slides/large.svs")
        assert open_slide("s3://slides/small.tif").width == 64
        web.ranges, web.faults = True, ["endless"] * 100
        with pytest.raises(SlideError, match=r"^large\.svs: this server (sends other bytes|gives whole files)"):
            open_slide("s3://slides/large.svs")
        assert web.sent < 100_000_000
