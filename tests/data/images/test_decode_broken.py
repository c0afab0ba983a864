"""Files as they come: broken, empty, disguised, circular.

None may crash, hang or pass in silence.
"""

import io
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from cxrtransfer.data import decode_image, decode_images

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48), dtype=np.uint8)


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind)
    return file.getvalue()


WHOLE = {kind: encoded(kind) for kind in ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")}


def names(root: Path, contents: dict[str, bytes]) -> list[Path]:
    paths = [root / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return paths


@pytest.mark.parametrize("kind", WHOLE)
def test_every_format_is_read_whatever_the_name(tmp_path: Path, kind: str) -> None:
    (path,) = names(tmp_path, {"picture.txt": WHOLE[kind]})

    assert decode_image(path, 16).shape == (16, 16)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_refused(kind: str, part: float) -> None:
    data = WHOLE[kind][: int(part * len(WHOLE[kind]))]

    with pytest.raises((OSError, ValueError, SyntaxError, EOFError, struct.error)):
        decode_image(data, 16)


def test_everything_broken_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    good, *broken = names(
        tmp_path,
        {
            "good.png": WHOLE["PNG"],
            "empty.png": b"",
            "text.jpeg": b"not an image at all",
            "cut.jpeg": WHOLE["JPEG"][:200],
            "bomb.png": png_header(60_000, 60_000),
            "frames.gif": two_frames(),
        },
    )
    broken += [tmp_path / name for name in ("folder", "circle", "nowhere", "pipe")]

    _, unreadable = decode_images([good, *broken], 8)

    assert set(unreadable) == set(broken)
    reasons = {path.name: message for path, message in unreadable.items()}
    assert reasons["empty.png"] == "the file is empty"
    assert reasons["text.jpeg"] == "not an image of a supported format"
    assert "pixels" in reasons["bomb.png"]
    assert "one frame, got several" in reasons["frames.gif"]
    assert reasons["folder"] == reasons["pipe"] == "not a regular file"
    assert reasons["circle"] == "Too many levels of symbolic links"


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_flipped_bytes_decode_or_are_named(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE[kind])
    for place, value in changes:
        data[place % len(data)] = value

    check_content(bytes(data))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 2**16), st.binary(max_size=64))
def test_garbage_inside_decodes_or_is_named(kind: str, place: int, garbage: bytes) -> None:
    place %= len(WHOLE[kind])

    check_content(WHOLE[kind][:place] + garbage + WHOLE[kind][place + len(garbage) :])


def check_content(data: bytes) -> None:
    """Through the public door: either pixels, or one reason that is not empty."""
    with tempfile.TemporaryDirectory() as folder:
        (path,) = names(Path(folder), {"image": data})
        images, unreadable = decode_images([path], 8)
    assert images.shape == (1, 8, 8)
    assert all(unreadable.values())


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG that claims to be huge."""
    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", size) + png_chunk(b"IDAT", b"")


def png_chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def two_frames() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("eps", EPS),
        (
            "eps with preview",
            b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(EPS)) + bytes(20) + EPS,
        ),
        ("fpx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4000)),
        ("ppm", b"P5\n2 2\n255\n\0\1\2\3"),
        ("pdf", b"%PDF-1.4\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_only_listed_formats_are_decoded(tmp_path: Path, name: str, data: bytes) -> None:
    # EPS would be run by Ghostscript, a program with loops and file access.
    (path,) = names(tmp_path, {f"{name}.png": data})

    assert decode_images([path], 8)[1] == {path: "not an image of a supported format"}


def test_every_flipped_bit_of_png_pixels_is_an_error() -> None:
    data = WHOLE["PNG"]
    start = data.index(b"IDAT")
    for place in range(start, len(data) - 12):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises((ValueError, OSError, SyntaxError)):
                decode_image(bytes(flipped), 16)


def with_webp_size(side: int, *, lossless: bool) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "WEBP", lossless=lossless)
    data = bytearray(file.getvalue())
    if lossless:  # 14 bits each, less one, after the signature
        place = data.index(b"VP8L") + 9
        flags = int.from_bytes(data[place : place + 4], "little") >> 28 << 28
        size = flags | (side - 1) | (side - 1) << 14
        data[place : place + 4] = size.to_bytes(4, "little")
    else:
        place = data.index(b"\x9d\x01\x2a") + 3
        data[place : place + 4] = struct.pack("<HH", side, side)
    return bytes(data)


def with_jpeg_2000_size(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "JPEG2000", no_jp2=True)
    data = bytearray(file.getvalue())
    place = data.index(b"\xff\x4f\xff\x51") + 8
    data[place : place + 8] = struct.pack(">II", side, side)
    data[place + 16 : place + 24] = struct.pack(">II", side, side)  # one tile
    return bytes(data)


@pytest.mark.parametrize("side", [9000, 16383])
@pytest.mark.parametrize(
    "build",
    [
        lambda side: with_webp_size(side, lossless=True),
        lambda side: with_webp_size(side, lossless=False),
        with_jpeg_2000_size,
        lambda side: png_header(side, side),
    ],
    ids=["lossless WebP", "lossy WebP", "JPEG 2000", "PNG"],
)
def test_a_small_file_of_a_huge_image_is_refused_by_its_header(
    build: Callable[[int], bytes], side: int
) -> None:
    data = build(side)
    assert len(data) < 200

    start = time.process_time()
    with pytest.raises((ValueError, Image.DecompressionBombError), match="pixels"):
        decode_image(data, 16)
    assert time.process_time() - start < 0.2  # decoding takes seconds
