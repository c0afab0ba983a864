"""DICOM made by hand with pydicom, one thing different at a time."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cxrtransfer.data import decode_image, decode_images
from cxrtransfer.errors import MissingExtraError

pydicom = pytest.importorskip("pydicom")

RAMP = np.tile(np.arange(0, 4096, 64, dtype=np.int64), (64, 1))  # 12 bits, dark left


def dicom(pixels: np.ndarray = RAMP, *, bits: int = 12, **tags: Any) -> bytes:
    """The content of a secondary capture with these pixels; tags are set by keyword."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.min() < 0)
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels.astype(np.int16 if pixels.min() < 0 else np.uint16).tobytes()
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def row(data: bytes) -> np.ndarray:
    return decode_image(data, 64)[0].astype(int)


STORED = np.round(RAMP[0] / 4095 * 255)


def test_without_a_window_the_stored_bits_are_the_scale() -> None:
    np.testing.assert_allclose(row(dicom()), STORED, atol=1)


def test_one_bright_pixel_does_not_change_the_others() -> None:
    pixels = RAMP // 4
    bright = pixels.copy()
    bright[-1, -1] = 4095

    np.testing.assert_array_equal(row(dicom(bright)), row(dicom(pixels)))


@pytest.mark.parametrize(
    ("bits", "high"),
    [(8, 200), (8, 255), (12, 4095), (12, 3000), (14, 12000), (16, 40000), (16, 3000)],
)
def test_the_same_picture_is_equal_as_png_and_dicom(bits: int, high: int) -> None:
    pixels = np.random.default_rng(0).integers(0, high + 1, (64, 64))
    png = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8 if bits == 8 else np.uint16)).save(png, "PNG")

    np.testing.assert_array_equal(
        decode_image(dicom(pixels, bits=bits), 64), decode_image(png.getvalue(), 64)
    )


def test_sixteen_declared_bits_with_twelve_used_are_not_nearly_black() -> None:
    np.testing.assert_allclose(row(dicom(bits=16)), STORED, atol=1)


def test_a_negative_slope_inverts() -> None:
    data = dicom(RescaleSlope=-1, RescaleIntercept=4095)

    np.testing.assert_allclose(row(data), 255 - STORED, atol=1)


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": "nan", "WindowWidth": "100"},
        {"WindowCenter": "2000", "WindowWidth": "inf"},
        {"RescaleSlope": "nan", "RescaleIntercept": "0"},
        {"RescaleSlope": "1", "RescaleIntercept": "-inf"},
        {"RescaleSlope": "0", "RescaleIntercept": "0"},
    ],
)
@pytest.mark.filterwarnings("ignore:.*value for VR")
def test_tags_that_are_no_numbers_are_refused(tags: dict[str, str]) -> None:
    data = dicom(**dict.fromkeys(tags, "76543210"))
    for value in tags.values():
        data = data.replace(b"76543210", value.ljust(8).encode(), 1)

    with pytest.raises(ValueError, match=r"must (be finite|not be 0)"):
        decode_image(data, 64)


@pytest.mark.parametrize("center", [-5000, 20000])
def test_a_window_beside_the_data_is_refused(center: int) -> None:
    with pytest.raises(ValueError, match="window must overlap the pixel values"):
        decode_image(dicom(WindowCenter=center, WindowWidth=100), 64)


def lut(values: np.ndarray, bits: int) -> pydicom.Dataset:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [len(values), 0, bits], values.tolist()
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"
    return table


@pytest.mark.parametrize(("bits", "high"), [(8, 255), (10, 1023), (12, 4095), (16, 4095)])
@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
def test_lookup_tables_of_every_depth(name: str, bits: int, high: int) -> None:
    table = lut(np.linspace(0, high, 4096).round().astype(int), bits)

    np.testing.assert_allclose(row(dicom(**{name: [table]})), STORED, atol=1)


def with_palette(order: int) -> tuple[bytes, np.ndarray]:
    """A picture stored as positions in a palette, and its true gray values."""
    gray = np.tile(np.arange(0, 256, 4), (64, 1))
    shuffled = np.random.default_rng(0).permutation(256) if order == 0 else np.arange(256)[::order]
    tags = {}
    for color in ("Red", "Green", "Blue"):
        tags[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{color}PaletteColorLookupTableData"] = (shuffled.astype("<u2") * 257).tobytes()
    data = dicom(
        np.argsort(shuffled)[gray], bits=8, PhotometricInterpretation="PALETTE COLOR", **tags
    )
    return data, gray[0]


@pytest.mark.parametrize("order", [1, -1, 0])
def test_palettes_are_applied(order: int) -> None:
    data, gray = with_palette(order)

    np.testing.assert_allclose(row(data), gray, atol=1)


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limits", [(4000, 4095), (4095, 4000)])
def test_the_padding_range_is_black(interpretation: str, limits: tuple[int, int]) -> None:
    pixels = RAMP // 2
    pixels[:, :8], pixels[:, 8:12] = 4095, 4000

    values = row(
        dicom(
            pixels,
            PhotometricInterpretation=interpretation,
            PixelPaddingValue=limits[0],
            PixelPaddingRangeLimit=limits[1],
        )
    )

    assert not values[:12].any()
    assert values[12:].min() > 0


@pytest.mark.parametrize("interpretation", ["HSV", "ARGB", "CMYK", "OTHER"])
def test_other_color_spaces_are_refused(interpretation: str) -> None:
    with pytest.raises(
        ValueError, match=f"photometric interpretation must be .* {interpretation}"
    ):
        decode_image(dicom(PhotometricInterpretation=interpretation), 64)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("interpretation", ["RGB", "YBR_FULL"])
def test_color_becomes_its_luminance(bits: int, interpretation: str) -> None:
    gray = np.tile(np.arange(0, 256, 4), (64, 1)) * (257 if bits == 16 else 1)
    pixels = np.repeat(gray[:, :, None], 3, axis=2)
    if interpretation == "YBR_FULL":
        pixels[:, :, 1:] = 128  # no color
        if bits == 16:
            pytest.skip("YBR has 8 bits")
    dataset = pydicom.dcmread(io.BytesIO(dicom(gray)))
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PhotometricInterpretation = interpretation
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelData = pixels.astype(f"<u{bits // 8}").tobytes()
    file = io.BytesIO()
    dataset.save_as(file)

    np.testing.assert_allclose(row(file.getvalue()), np.arange(0, 256, 4), atol=1)


def test_many_pixels_are_refused_before_they_are_decoded() -> None:
    small = pydicom.dcmread(io.BytesIO(packed(dicom(), "JPEG2000Lossless")))
    stream = pydicom.encaps.get_frame(small.PixelData, 0, number_of_frames=1)
    place = stream.index(b"\xff\x4f\xff\x51") + 8
    huge = (20_000).to_bytes(4) * 2
    small.PixelData = pydicom.encaps.encapsulate([stream[:place] + huge + stream[place + 8 :]])
    small["PixelData"].VR = "OB"
    file = io.BytesIO()
    small.save_as(file)
    with pytest.raises(ValueError, match=r"must have \(64, 64\) pixels, got \(20000, 20000\)"):
        decode_image(file.getvalue(), 64)

    small.Rows = small.Columns = 20_000
    file = io.BytesIO()
    small.save_as(file)
    with pytest.raises(ValueError, match="80,000,000 pixels"):
        decode_image(file.getvalue(), 64)


def test_a_deflated_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrtransfer.data.images.dicom.MAX_BYTES", 1_000_000)
    zeros = dicom(np.zeros((1000, 1000), dtype=np.int64))

    with pytest.raises(ValueError, match="inflate to at most"):
        decode_image(packed(zeros, "DeflatedExplicitVRLittleEndian"), 64)


def without_preamble(data: bytes, *, meta: bool) -> bytes:
    dataset = pydicom.dcmread(io.BytesIO(data))
    if meta:
        return data[132:]
    body = pydicom.filebase.DicomBytesIO()
    body.is_little_endian, body.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(body, dataset)
    return body.getvalue()


@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_files_without_preamble_are_read(meta: bool) -> None:
    data = without_preamble(dicom(), meta=meta)

    np.testing.assert_array_equal(decode_image(data, 64), decode_image(dicom(), 64))


def test_pixels_that_cannot_be_decoded_name_their_kind() -> None:
    data = packed(dicom(), "JPEGLSLossless")
    start = data.index(b"\xff\xda")

    with pytest.raises(ValueError, match="cannot decode 12-bit pixels in JPEG-LS"):
        decode_image(data[:start] + bytes(200) + data[start + 200 :], 64)


def test_monochrome1_is_inverted() -> None:
    np.testing.assert_allclose(
        row(dicom(PhotometricInterpretation="MONOCHROME1")), 255 - STORED, atol=1
    )


def test_a_window_cuts_both_ends() -> None:
    values = row(dicom(WindowCenter=2048, WindowWidth=1024))

    expected = np.clip((RAMP[0] - 2047.5) / 1023 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(values, expected, atol=1)


def test_the_first_of_several_windows_is_taken() -> None:
    several = dicom(WindowCenter=[2048, 100], WindowWidth=[1024, 50])

    np.testing.assert_array_equal(row(several), row(dicom(WindowCenter=2048, WindowWidth=1024)))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(function: str) -> None:
    data = dicom(WindowCenter=1500, WindowWidth=800, VOILUTFunction=function)
    dataset = pydicom.dcmread(io.BytesIO(data))

    theirs = pydicom.pixels.apply_voi_lut(RAMP, dataset)

    np.testing.assert_allclose(row(data), theirs[0] / 4095 * 255, atol=1)


def test_slope_and_intercept_come_before_the_window() -> None:
    values = row(
        dicom(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=1000, WindowWidth=2000)
    )

    expected = np.clip((RAMP[0] * 2 - 1000 - 999.5) / 1999 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(values, expected, atol=1)


def test_signed_pixels() -> None:
    np.testing.assert_allclose(row(dicom(RAMP - 2048)), STORED, atol=1)


def test_a_lookup_table_for_viewing() -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor = [4096, 0, 10]
    table.LUTData = np.repeat(np.arange(1023, -1, -1, dtype=np.uint16), 4).tolist()
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"

    np.testing.assert_allclose(row(dicom(VOILUTSequence=[table])), 255 - RAMP[0] / 16, atol=1)


def test_padding_does_not_set_the_black() -> None:
    pixels = RAMP + 1000
    pixels[:, :8] = 0

    values = row(dicom(pixels, bits=13, PixelPaddingValue=0))

    assert values[:8].max() == 0
    np.testing.assert_allclose(values[8:], pixels[0, 8:] / 8191 * 255, atol=1)


def test_color_becomes_gray() -> None:
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[..., 1] = 200
    data = dicom(
        np.zeros((64, 64), dtype=np.int64),
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
    )
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = pixels.tobytes()
    file = io.BytesIO()
    dataset.save_as(file)

    assert row(file.getvalue())[0] == pytest.approx(0.587 * 200, abs=1)


def test_several_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="one frame, got 2"):
        decode_image(dicom(np.stack([RAMP, RAMP]), NumberOfFrames=2), 64)


def test_a_report_without_pixels_is_refused() -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom()))
    del dataset.PixelData
    file = io.BytesIO()
    dataset.save_as(file)

    with pytest.raises(ValueError, match="must have pixel data"):
        decode_image(file.getvalue(), 64)


def test_cut_short() -> None:
    with pytest.raises((ValueError, AttributeError, EOFError)):
        decode_image(dicom()[:-100], 64)


def packed(data: bytes, syntax: str, **options: Any) -> bytes:
    """The same DICOM with its pixels packed in another way."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    file = io.BytesIO()
    if syntax == "ExplicitVRBigEndian":
        dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        pydicom.dcmwrite(
            file, dataset, implicit_vr=False, little_endian=False, force_encoding=True
        )
        return file.getvalue()
    if syntax == "DeflatedExplicitVRLittleEndian":
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    else:
        dataset.compress(getattr(pydicom.uid, syntax), **options)
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


LOSSLESS = (
    "RLELossless",
    "JPEGLSLossless",
    "JPEG2000Lossless",
    "DeflatedExplicitVRLittleEndian",
    "ExplicitVRBigEndian",
)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_packing_changes_no_pixel(syntax: str) -> None:
    data = dicom(RAMP, PhotometricInterpretation="MONOCHROME1")

    again = packed(data, syntax)

    assert pydicom.dcmread(io.BytesIO(again)).file_meta.TransferSyntaxUID == getattr(
        pydicom.uid, syntax
    )
    np.testing.assert_array_equal(decode_image(again, 64), decode_image(data, 64))


@pytest.mark.parametrize("syntax", ["RLELossless", "JPEG2000Lossless"])
def test_signed_pixels_packed_without_loss(syntax: str) -> None:
    data = dicom(RAMP - 2048)

    np.testing.assert_array_equal(decode_image(packed(data, syntax), 64), decode_image(data, 64))


@pytest.mark.parametrize(
    ("syntax", "options"),
    [("JPEGLSNearLossless", {"jls_error": 8}), ("JPEG2000", {"j2k_cr": [4]})],
)
def test_lossy_packing_changes_little(syntax: str, options: dict[str, Any]) -> None:
    again = packed(dicom(), syntax, **options)

    np.testing.assert_allclose(
        decode_image(again, 64).astype(int), decode_image(dicom(), 64), atol=2
    )


@pytest.mark.parametrize("process", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1"])
def test_lossless_jpeg(tmp_path: Path, process: str) -> None:
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm reads lossless JPEG, and is no extra")
    (tmp_path / "plain.dcm").write_bytes(dicom())
    reader, writer = gdcm.ImageReader(), gdcm.ImageWriter()
    reader.SetFileName(str(tmp_path / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, process)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(tmp_path / "packed.dcm"))
    assert writer.Write()

    syntax = pydicom.dcmread(tmp_path / "packed.dcm").file_meta.TransferSyntaxUID
    assert syntax in (pydicom.uid.JPEGLossless, pydicom.uid.JPEGLosslessSV1)
    np.testing.assert_array_equal(
        decode_image(tmp_path / "packed.dcm", 64), decode_image(dicom(), 64)
    )


def test_a_table_for_viewing_goes_before_a_window() -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor = [4096, 0, 10]
    table.LUTData = np.repeat(np.arange(1024, dtype=np.uint16), 4).tolist()
    table["LUTDescriptor"].VR = table["LUTData"].VR = "US"

    values = row(dicom(VOILUTSequence=[table], WindowCenter=100, WindowWidth=50))

    np.testing.assert_allclose(values, RAMP[0] / 16, atol=1)


def test_a_codec_that_is_not_installed_is_asked_for(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom()))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    decoder = pydicom.pixels.get_decoder(pydicom.uid.JPEGLosslessSV1)
    installed = dict(decoder._available)
    decoder._available.clear()
    try:
        with pytest.raises(MissingExtraError, match="pip install python-gdcm"):
            decode_images([tmp_path / "x.dcm"], 8)
    finally:
        decoder._available.update(installed)
