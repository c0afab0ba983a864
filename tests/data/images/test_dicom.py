"""DICOM made by hand with pydicom, one thing different at a time."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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


FULL = np.round(np.arange(64) / 63 * 255)


def test_without_a_window_darkest_is_black_and_brightest_white() -> None:
    np.testing.assert_allclose(row(dicom()), FULL, atol=1)


def test_monochrome1_is_inverted() -> None:
    np.testing.assert_allclose(
        row(dicom(PhotometricInterpretation="MONOCHROME1")), FULL[::-1], atol=1
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
    np.testing.assert_allclose(row(dicom(RAMP - 2048)), FULL, atol=1)


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
    assert 25 < values[8] + 26 < 40


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
