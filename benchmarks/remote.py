"""How fast a slide far away is read, against what the network and the decoder must take.

    python benchmarks/remote.py [SLIDE] [--gaps 0 4096 16384 65536] [--repeats 5]

A server on 127.0.0.1, in a process of its own, answers byte ranges with 20 ms of delay a request and 50 MB/s for all
together, once by plain http and once as S3 answers (s3fs). From SLIDE (default: a 60,000 x 50,000 BigTIFF that
benchmarks/make_slide.py makes) 200 random tiles of level 0 are read, unaligned, and the low-resolution view. The time
is compared with

    directories * delay + ranges * delay / 64 + bytes / bandwidth + decode

where directories is the chain of headers (each names the next), ranges and bytes what was asked for and sent, and
decode the time that the same reads take from the file on a local disk. Then the same with faults: a tenth of the
requests is answered by 500, by a broken connection or by half of the bytes. Last, a smaller slide from moto's S3, with
faults put in between: moto reads the whole object for each range, so that its times say nothing, and only the pixels
and the bytes are told.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import logging
import multiprocessing
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ats_cli.slides import Slide, open_slide
from benchmarks.make_slide import make_slide

DELAY, BANDWIDTH, IN_FLIGHT = 0.020, 50e6, 64
TILES = 200


# The server: one process, asyncio, no more of HTTP than ranges need.


class Link:
    """A delay a request, and a bandwidth that all answers share."""

    def __init__(self, faults: float) -> None:
        self.free = 0.0
        self.faults, self.rng = faults, random.Random(0)
        self.requests = self.sent = 0

    async def send(self, writer: asyncio.StreamWriter, data: memoryview) -> None:
        for start in range(0, len(data), 65536):
            part = data[start : start + 65536]
            now = time.perf_counter()
            self.free = max(self.free, now) + len(part) / BANDWIDTH
            if self.free > now + 0.001:
                await asyncio.sleep(self.free - now)
            writer.write(part)
            await writer.drain()
            self.sent += len(part)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: Path, size: int, link: Link) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        while request := await reader.readuntil(b"\r\n\r\n"):
            if b" /facts " in request:
                facts = f"{link.requests} {link.sent}".encode()
                link.requests = link.sent = 0
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(facts), facts))
                await writer.drain()
                continue
            link.requests += 1
            await asyncio.sleep(DELAY)
            fault = link.rng.choice(("500", "drop", "short")) if link.rng.random() < link.faults else None
            span = re.search(rb"[Rr]ange: bytes=(\d+)-(\d+)", request)
            if fault == "drop" or span is None:
                break
            if fault == "500":
                writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
                continue
            start, stop = int(span[1]), min(int(span[2]) + 1, size)
            head = f"HTTP/1.1 206 OK\r\nContent-Length: {stop - start}\r\nAccept-Ranges: bytes\r\n"
            head += f'Content-Range: bytes {start}-{stop - 1}/{size}\r\nETag: "1"\r\n\r\n'
            writer.write(head.encode())
            data = memoryview(os.pread(file, stop - start, start))
            await link.send(writer, data[: len(data) // 2] if fault == "short" else data)
            if fault == "short":
                break
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        os.close(file)
        writer.close()


def serve(path: Path, faults: float, ports: Any) -> None:
    async def main() -> None:
        link, size = Link(faults), path.stat().st_size
        server = await asyncio.start_server(
            lambda reader, writer: answer(reader, writer, path, size, link), "127.0.0.1", 0, backlog=256
        )
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def server(path: Path, faults: float = 0.0) -> Iterator[int]:
    """The port of a server of its own."""
    context = multiprocessing.get_context("spawn")
    ports = context.Queue()
    process = context.Process(target=serve, args=(path, faults, ports), daemon=True)
    process.start()
    try:
        yield ports.get(timeout=60)
    finally:
        process.terminate()
        process.join()


def facts(port: int) -> tuple[int, int]:
    """(requests, bytes of bodies sent) since last asked."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/facts") as reply:
        requests, sent = reply.read().split()
    return int(requests), int(sent)


# What is read.


def boxes_of(slide: Slide, seed: int) -> np.ndarray:
    """200 squares of a native tile's size, anywhere."""
    rng = np.random.default_rng(seed)
    size = slide.levels[0].tile_width
    corners = rng.uniform(0, (slide.width - size, slide.height - size), (TILES, 2)).round()
    return np.hstack([corners, np.full((TILES, 2), size)])


def read(place: Any, seed: int) -> tuple[str, Slide, float]:
    """Open, view, tiles; (hash of all pixels, slide, seconds)."""
    clock = time.perf_counter()
    slide = open_slide(place)
    view = slide.read_view(slide.levels[-1].downsample)
    tiles = list(slide.read_tiles(boxes_of(slide, seed), slide.levels[0].tile_width))
    seconds = time.perf_counter() - clock
    digest = hashlib.sha256(view.tobytes() + b"".join(tile.tobytes() for tile in tiles)).hexdigest()
    return digest, slide, seconds


def directories(path: Path) -> int:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        return len(tiff.pages)


def compare(name: str, path: Path, url: Callable[[int], str], repeats: int, faults: float = 0.0) -> None:
    size, chain = path.stat().st_size, directories(path)
    with server(path, faults) as port:
        place = url(port)
        read(place, 99)  # imports, connections, and the headers kept on disk
        for kept in (False, True):
            rows = []
            for repeat in range(repeats):
                expected, _, local = read(path, repeat)
                facts(port)
                with kept_headers(kept):
                    digest, slide, seconds = read(place, repeat)
                requests, sent = facts(port)
                assert digest == expected, "other pixels than the local file's"
                terms = (
                    (1 if kept else chain) * DELAY, requests * DELAY / IN_FLIGHT, sent / BANDWIDTH, local,
                )  # fmt: skip
                rows.append((seconds, *terms, seconds / sum(terms), requests, sent, slide.bytes_read))
            med = [statistics.median(column) for column in zip(*rows, strict=True)]
            print(
                f"{name:18s} {'kept' if kept else 'asked for':10s} {med[0]:7.3f} {med[1]:8.3f} {med[2]:8.3f} "
                f"{med[3]:8.3f} {med[4]:8.3f} {med[5]:7.2f} {med[6]:9.0f} {med[7] / 1e6:8.2f} {med[7] / size:8.2%} "
                f"{med[8] / med[7]:9.4f}",
                flush=True,
            )


@contextmanager
def kept_headers(kept: bool) -> Iterator[None]:
    """The cache of headers as it is, or an empty one."""
    if kept:
        yield
        return
    before = os.environ["ATS_CACHE"]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ATS_CACHE"] = folder
        try:
            yield
        finally:
            os.environ["ATS_CACHE"] = before


HEADING = (
    f"{'':18s} {'headers':10s} {'seconds':>7s} {'chain':>8s} {'ranges':>8s} {'bytes':>8s} {'decode':>8s} "
    f"{'ratio':>7s} {'requests':>9s} {'MB':>8s} {'of file':>8s} {'counted':>9s}"
)


def http_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/slide.svs?token=secret"


def s3_url(port: int) -> str:
    os.environ["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{port}"
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    return "s3://bucket/slide.svs"


def moto(path: Path) -> None:
    """Pixels and bytes of a slide in moto's S3, with faults in between."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server_ = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server_.start()
    try:
        import boto3

        port = server_.get_host_and_port()[1]
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
        client.create_bucket(Bucket="bucket")
        client.upload_file(str(path), "bucket", "slide.svs")
        with faulty_proxy(port, every=10) as (proxy, counts):
            expected, _, _ = read(path, 0)
            with kept_headers(False):
                digest, slide, _ = read(s3_url(proxy), 0)
        assert digest == expected, "other pixels than the local file's"
        print(
            f"moto, {slide.width} x {slide.height}: the same pixels; {counts['requests']} requests, of which "
            f"{counts['500']} answered 500 and {counts['drop']} dropped; {slide.bytes_read / 1e6:.2f} MB read of "
            f"{path.stat().st_size / 1e6:.2f}"
        )
    finally:
        server_.stop()


@contextmanager
def faulty_proxy(port: int, every: int) -> Iterator[tuple[int, dict[str, int]]]:
    """Passes requests on to `port`; of `every` so many one is answered by 500, and the next such dropped."""
    import threading
    import urllib.error
    import urllib.request
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    counts = {"requests": 0, "500": 0, "drop": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            counts["requests"] += 1
            turn = counts["requests"] // every if counts["requests"] % every == 0 else 0
            if turn % 2:
                counts["500"] += 1
                self.send_response(500)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if turn:
                counts["drop"] += 1
                self.close_connection = True
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            request = urllib.request.Request(f"http://127.0.0.1:{port}{self.path}", headers=headers)
            with urllib.request.urlopen(request) as reply:
                body = reply.read()
                self.send_response(reply.status)
                for name in ("ETag", "Content-Range"):
                    if reply.headers[name]:
                        self.send_header(name, reply.headers[name])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield proxy.server_address[1], counts
    finally:
        proxy.shutdown()
        proxy.server_close()


def compare_gaps(path: Path, gaps: list[int], repeats: int) -> None:
    """What merging ranges that are so many bytes apart is worth: by turns, headers kept."""
    from ats_cli.slides.remote import file as remote_file

    rows: dict[int, list[tuple[float, int, int]]] = {gap: [] for gap in gaps}
    shipped = remote_file.GAP
    with server(path) as port:
        read(http_url(port), 99)
        for repeat in range(repeats):
            for gap in random.Random(repeat).sample(gaps, len(gaps)):
                remote_file.GAP = gap
                facts(port)
                _, _, seconds = read(http_url(port), repeat)
                rows[gap].append((seconds, *facts(port)))
    remote_file.GAP = shipped
    print("\nranges nearer than this are one request: seconds, requests, MB, share of the file")
    for gap, found in rows.items():
        seconds, requests, sent = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{gap:8d} {seconds:7.3f} {requests:6.0f} {sent / 1e6:8.2f} {sent / path.stat().st_size:8.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gaps", type=int, nargs="*", default=[], metavar="BYTES")
    arguments = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ATS_CACHE"] = folder
        slide = arguments.slide
        if slide is None:
            slide = Path(folder) / "slide.svs"
            make_slide(slide)
        with slide.open("rb") as file:  # into the page cache, for the server and for the local reads
            for _ in iter(functools.partial(file.read, 1 << 24), b""):
                pass
        print(
            f"{TILES} tiles and the view of {slide.name}, {slide.stat().st_size / 1e6:,.0f} MB; medians of "
            f"{arguments.repeats}; delay {DELAY * 1000:.0f} ms, {BANDWIDTH / 1e6:.0f} MB/s; terms in seconds"
        )
        print(f"(the whole file would take {slide.stat().st_size / BANDWIDTH:.1f} s)")
        print(HEADING)
        compare("http", slide, http_url, arguments.repeats)
        compare("s3", slide, s3_url, arguments.repeats)
        compare("http, faults", slide, http_url, arguments.repeats, faults=0.1)
        compare("s3, faults", slide, s3_url, arguments.repeats, faults=0.1)
        if arguments.gaps:
            compare_gaps(slide, arguments.gaps, arguments.repeats)
        small = Path(folder) / "small.svs"
        make_slide(small, 12_000, 10_000)
        moto(small)


if __name__ == "__main__":
    main()
