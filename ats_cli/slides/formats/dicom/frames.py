"""Decode the frames of a DICOM. The colour markers of a JPEG stream take precedence over the DICOM header."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid

from ats_cli.errors import SlideError
from ats_cli.slides.formats.dicom.index import PixelFacts
from ats_cli.slides.formats.dicom.items import fragments
from ats_cli.slides.pixels.jpeg import decode_whole
from ats_cli.slides.pixels.sample_kind import PixelKind, shown_range
from ats_cli.slides.pixels.stream_damage import (
    refuse_broken_jpeg,
    refuse_broken_jpeg_2000,
    refuse_broken_jpeg_ls,
)
from ats_cli.slides.pixels.stream_size import refuse_large

_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_LOSSLESS_JPEG = (uid.JPEGLossless, uid.JPEGLosslessSV1)
_J2K = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
_JXL = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112")
_DECODERS: dict[str, tuple[str, Any]] = {
    **dict.fromkeys(_JPEG, ("jpeg", imagecodecs.jpeg8_decode)),
    **dict.fromkeys(_LOSSLESS_JPEG, ("jpeg lossless", imagecodecs.ljpeg_decode)),
    **dict.fromkeys(_JPEG_LS, ("jpeg-ls", imagecodecs.jpegls_decode)),
    **dict.fromkeys(_J2K, ("jpeg2000", imagecodecs.jpeg2k_decode)),
    **dict.fromkeys(_JXL, ("jpegxl", imagecodecs.jpegxl_decode)),
    uid.RLELossless: ("rle", imagecodecs.dicomrle_decode),
}
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def pixel_kind(facts: PixelFacts) -> PixelKind:
    """Return how the samples of an instance make a colour. Raises SlideError for samples that are not read."""
    syntax = facts.syntax
    if syntax.is_encapsulated and syntax not in _DECODERS:
        raise SlideError(f"frames compressed as {syntax.name} are not read. Convert it.")
    grey = facts.photometric in _GREY and facts.samples == 1
    if not grey and not (facts.photometric in _COLOURS and facts.samples == 3 and facts.bits_stored == 8):
        raise SlideError(
            f"{facts.samples} samples of {facts.bits_stored} bits as {facts.photometric} are not read. "
            "Convert it to 8-bit RGB."
        )
    if facts.bits_allocated not in (8, 16) or (syntax in _JPEG and facts.bits_stored > 8):
        raise SlideError(f"pixels of {facts.bits_stored} bits as {syntax.name} are not read. Convert it to 8 bits.")
    if facts.photometric == "YBR_FULL_422" and not syntax.is_encapsulated:
        raise SlideError("YBR_FULL_422 without compression is not read. Convert it to RGB.")
    return PixelKind(
        colours=1 if grey else 3,
        shown=shown_range(_dtype(facts), facts.bits_stored, facts.window),
        inverted=facts.photometric == "MONOCHROME1",
    )


def codec_name(syntax: uid.UID) -> str:
    return _DECODERS[syntax][0] if syntax.is_encapsulated else "none"


def decode(data: bytes, facts: PixelFacts, rows: int, cols: int) -> tuple[NDArray[Any], bool]:
    """Return a frame, (rows, cols, samples), and whether it is in YCbCr. Raises ValueError or the decoder's error."""
    syntax, is_ycc = facts.syntax, facts.photometric in ("YBR_FULL", "YBR_FULL_422")
    if not syntax.is_encapsulated:
        shape = (facts.samples, rows, cols) if facts.planar else (rows, cols, facts.samples)
        samples = np.frombuffer(data, dtype=_dtype(facts)).reshape(shape)
        return (samples.transpose(1, 2, 0) if facts.planar else samples), is_ycc
    stream = b"".join(fragments(data))
    refuse_large(stream, rows * cols)
    decoder = _DECODERS[syntax][1]
    if syntax in _JPEG:
        colours = jpeg_colours(stream)
        if colours is None:
            colours = "YCBCR" if facts.photometric.startswith("YBR") else "RGB"
        samples = _grey(stream) if facts.samples == 1 else decode_whole(stream, None, colours)
        is_ycc = False
    elif syntax == uid.RLELossless:
        # Planes of bytes are stored one after the other, the high byte of samples first.
        planes = np.frombuffer(decoder(stream, dtype="u1"), dtype=np.uint8)
        planes = planes.reshape(facts.samples, facts.bits_allocated // 8, rows, cols)
        samples = np.ascontiguousarray(planes.transpose(2, 3, 0, 1)).view(_dtype(facts).newbyteorder(">"))[..., 0]
    else:
        if syntax in _J2K:
            refuse_broken_jpeg_2000(stream)
        elif syntax in _LOSSLESS_JPEG:
            refuse_broken_jpeg(stream)
        elif syntax in _JPEG_LS:
            refuse_broken_jpeg_ls(stream)
        samples = decoder(stream)
        is_ycc = is_ycc and not (syntax in _J2K and _transformed(stream))
    if samples.shape[:2] != (rows, cols):
        raise ValueError(f"its stream holds {samples.shape[1]} x {samples.shape[0]} pixels")
    return samples.reshape(rows, cols, facts.samples), is_ycc


def _grey(stream: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG stream of one component. Warnings of libjpeg are errors, as in `decode_whole`."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg_header(stream)
    except ValueError:
        return np.asarray(imagecodecs.jpeg8_decode(stream))  # a kind of JPEG that the strict decoder does not support
    return np.asarray(simplejpeg.decode_jpeg(stream, "GRAY"))


def jpeg_colours(stream: bytes) -> Literal["RGB", "YCBCR"] | None:
    """Return what the three components of a JPEG stream are, by the stream itself; None if it does not say.

    Adobe's and JFIF's markers say it, and so do components named R, G and B, and subsampled chroma.
    """
    components: list[tuple[int, int]] = []
    adobe = None
    for marker, segment in _segments(stream):
        if marker == 0xE0 and segment.startswith(b"JFIF\0"):
            return "YCBCR"
        if marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            adobe = segment[11]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            components = [(segment[i], segment[i + 1]) for i in range(6, min(len(segment) - 2, 6 + 3 * segment[5]), 3)]
    if adobe is not None:
        return "RGB" if adobe == 0 else "YCBCR"
    if [name for name, _ in components] == list(b"RGB"):
        return "RGB"
    return "YCBCR" if len({sampling for _, sampling in components}) > 1 else None


def _segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the content of each segment before the first scan."""
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA or length < 2:
            return
        yield marker, stream[at + 4 : at + 2 + length]
        at += 2 + length


def _transformed(stream: bytes) -> bool:
    """Whether a JPEG 2000 codestream has a colour transform, so that its decoder returns RGB."""
    at = stream.find(b"\xff\x52")
    return at >= 0 and len(stream) > at + 8 and stream[at + 8] == 1


def _dtype(facts: PixelFacts) -> np.dtype[Any]:
    order = "<" if facts.syntax.is_little_endian else ">"
    return np.dtype(f"{order}{'i' if facts.signed else 'u'}{facts.bits_allocated // 8}")
