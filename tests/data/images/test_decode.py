import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrtransfer.data import decode_image, decode_images

RAMP = np.tile(
    np.linspace(0, 255, 64).round().astype(np.uint8), (64, 1)
)  # dark left, bright right


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "1", "I;16"])
def test_every_mode_gives_the_same_gray(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(RAMP.astype(np.uint16) * 257)
    elif mode == "1":
        image = Image.fromarray(RAMP >= 128)
    elif mode == "P":
        image = Image.fromarray(RAMP).convert("RGB").quantize(256)
    else:
        image = Image.fromarray(RAMP).convert("RGB").convert(mode)
    path = (
        save(tmp_path / "image.tif", image) if mode == "CMYK" else save(tmp_path / "i.png", image)
    )

    gray = decode_image(path, 64)

    assert gray.dtype == np.uint8
    assert gray.shape == (64, 64)
    expected = (RAMP >= 128) * 255 if mode == "1" else RAMP
    np.testing.assert_allclose(gray.astype(int), expected, atol=2)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize(
    ("brightest", "white"),
    [
        (1, 255),
        (255, 255),
        (256, 1023),
        (2047, 4095),
        (4095, 4095),
        (4096, 16383),
        (16384, 65535),
        (65535, 65535),
    ],
)
def test_sixteen_bits_are_scaled_from_the_depth_that_holds_them(
    tmp_path: Path, kind: str, brightest: int, white: int
) -> None:
    ramp = np.linspace(0, brightest, 64).round().astype(np.uint16)
    path = save(tmp_path / f"i.{kind}", Image.fromarray(np.tile(ramp, (64, 1))))

    expected = (ramp.astype(float) * 255 / white).round()
    np.testing.assert_array_equal(decode_image(path, 64)[0], expected)


def test_images_of_one_detector_stay_comparable(tmp_path: Path) -> None:
    dim = np.full((8, 8), 1500, dtype=np.uint16)
    bright = dim.copy()
    bright[0, 0] = 3900
    gray = [
        decode_image(save(tmp_path / f"{i}.png", Image.fromarray(pixels)), 8)
        for i, pixels in enumerate((dim, bright))
    ]

    np.testing.assert_array_equal(gray[0][1:], gray[1][1:])


@pytest.mark.parametrize("bits", [8, 16])
def test_a_tiff_whose_zero_is_white_is_not_inverted(tmp_path: Path, bits: int) -> None:
    stored = 255 - RAMP if bits == 8 else (255 - RAMP).astype(np.uint16) * 257
    path = save(tmp_path / "i.tif", Image.fromarray(stored))
    tag = struct.pack("<HHI", 262, 3, 1)
    data = path.read_bytes()
    path.write_bytes(data.replace(tag + struct.pack("<I", 1), tag + struct.pack("<I", 0)))

    with Image.open(path) as image:
        assert image.getexif()[262] == 0
    np.testing.assert_allclose(decode_image(path, 64).astype(int), RAMP, atol=1)


def save_16_bit_color(path: Path, pixels: np.ndarray) -> Path:
    """Write what Pillow cannot: a PNG of 16-bit RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )
    return path


def test_sixteen_bit_color_is_gray_or_refused_but_never_black(tmp_path: Path) -> None:
    color = np.repeat(RAMP[:, :, None], 3, axis=2).astype(np.uint16)
    full = save_16_bit_color(tmp_path / "full.png", color * 257)
    twelve = save_16_bit_color(tmp_path / "twelve.png", color * 16)

    np.testing.assert_allclose(decode_image(full, 64).astype(int), RAMP, atol=1)
    with pytest.raises(ValueError, match=r"16,384 would be nearly black; save as 16-bit gray"):
        decode_image(twelve, 64)


def test_transparent_is_black(tmp_path: Path) -> None:
    white = np.full((8, 8, 2), 255, dtype=np.uint8)
    white[:, :4, 1] = 0
    path = save(tmp_path / "i.png", Image.fromarray(white))

    assert decode_image(path, 8)[0].tolist() == [0] * 4 + [255] * 4


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    path = save(tmp_path / "i.jpg", Image.fromarray(RAMP), exif=exif, quality=100)

    np.testing.assert_allclose(decode_image(path, 64).astype(int), np.rot90(RAMP, -1), atol=3)


def test_a_large_jpeg_decodes_as_if_at_full_size(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP).resize((640, 800), Image.Resampling.BICUBIC)
    path = save(tmp_path / "i.jpg", image, quality=95)

    full = np.asarray(Image.open(path).resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(decode_image(path, 64).astype(int), full, atol=4)


def test_pad_keeps_proportions_and_squash_does_not(tmp_path: Path) -> None:
    path = save(tmp_path / "i.png", Image.new("L", (40, 20), 200))

    assert (decode_image(path, 20) == 200).all()
    padded = decode_image(path, 20, fit="pad")
    assert (padded[:5] == 0).all()
    assert (padded[5:15] == 200).all()
    assert (padded[15:] == 0).all()


def test_floating_point_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "i.tif", Image.fromarray(RAMP.astype(np.float32)))

    with pytest.raises(ValueError, match="must be integers, got floating point"):
        decode_image(path, 8)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "i.png", Image.new("1", (12_000, 12_000)))

    with pytest.raises((ValueError, Image.DecompressionBombWarning), match="pixels"):
        decode_image(path, 8)


def test_many_equal_one_by_one(image_tree: Path) -> None:
    paths = sorted(image_tree.rglob("*.png"))

    images, failed = decode_images(paths, 16)

    assert not failed
    np.testing.assert_array_equal(images, [decode_image(path, 16) for path in paths])


def test_all_unreadable_images_are_reported(image_tree: Path) -> None:
    paths = sorted(image_tree.rglob("*.png"))
    paths[3].write_bytes(b"")
    paths[7].write_bytes(paths[7].read_bytes()[:100])
    paths[9].unlink()

    _, unreadable = decode_images(paths, 8)

    assert set(unreadable) == {paths[3], paths[7], paths[9]}
    assert unreadable[paths[9]] == "No such file or directory"


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [32, 64, 224])
def test_equal_pixels_give_one_result_in_every_format(mode: str, size: int) -> None:
    rng = np.random.default_rng(0)
    shape = (500, 620) if mode == "L" else (500, 620, 3)
    jpeg, png, tiff = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(jpeg, "JPEG")
    with Image.open(jpeg) as image:
        image.save(png, "PNG")
        image.save(tiff, "TIFF")

    gray = decode_image(jpeg.getvalue(), size)

    np.testing.assert_array_equal(gray, decode_image(png.getvalue(), size))
    np.testing.assert_array_equal(gray, decode_image(tiff.getvalue(), size))


def test_a_jpeg_with_too_many_scans_is_refused() -> None:
    file = io.BytesIO()
    Image.new("L", (32, 32), 9).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    start = data.rfind(b"\xff\xda")
    scan, end = data[start:-2], data[-2:]

    assert decode_image(data[:-2] + 80 * scan + end, 8).max() == 9
    with pytest.raises(ValueError, match="at most 100 scans, got 20"):
        decode_image(data[:-2] + 200 * scan + end, 8)
