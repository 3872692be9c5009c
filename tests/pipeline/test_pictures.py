"""Reading pictures: one picture in any form gives one tensor, and everything else says what is wrong."""

import io
import re

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch

from groundling.errors import ImageError
from groundling.pipeline.pictures import read_picture
from groundling.processing import GroundingDinoImageProcessor
from reference import pixels as naive

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
EXPECTED = torch.from_numpy(PIXELS).permute(2, 0, 1)


def png(image):
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(PIL.Image.fromarray(PIXELS), id="PIL"),
        pytest.param(png(PIL.Image.fromarray(PIXELS)), id="bytes"),
        pytest.param(PIXELS, id="numpy uint8"),
        pytest.param(PIXELS[:, :, ::-1][:, :, ::-1], id="numpy view"),
        pytest.param(PIXELS[::-1].copy()[::-1], id="numpy turned"),
        pytest.param(PIXELS.astype(np.int64), id="numpy int64"),
        pytest.param((PIXELS / 255).astype(np.float32), id="numpy float32"),
        pytest.param(PIXELS / 255, id="numpy float64"),
        pytest.param(PIXELS.astype(np.uint16) * 257, id="numpy uint16"),
        pytest.param(np.dstack([PIXELS, np.full((5, 7), 255, np.uint8)]), id="numpy opaque"),
        pytest.param(EXPECTED, id="torch uint8"),
        pytest.param(EXPECTED.to(torch.int32), id="torch int32"),
        pytest.param((EXPECTED / 255).requires_grad_(), id="torch float32"),
        pytest.param((EXPECTED / 255).to(torch.float16), id="torch float16"),
        pytest.param((EXPECTED.int() * 257).to(torch.uint16), id="torch uint16"),
    ],
)
def test_every_form_of_one_picture_is_the_same(picture):
    read = read_picture(picture)
    assert read.dtype == torch.uint8
    assert torch.equal(read, EXPECTED)


def test_a_path_is_read(tmp_path, monkeypatch):
    PIL.Image.fromarray(PIXELS).save(tmp_path / "a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (tmp_path / "a.png", str(tmp_path / "a.png"), "~/a.png"):
        assert torch.equal(read_picture(path), EXPECTED)


@pytest.mark.parametrize(
    ("picture", "value"),
    [
        pytest.param(np.full((2, 2), 9, np.uint8), 9, id="numpy grey"),
        pytest.param(np.full((2, 2, 1), 9, np.uint8), 9, id="numpy one channel"),
        pytest.param(torch.full((2, 2), 9, dtype=torch.uint8), 9, id="torch grey"),
        pytest.param(torch.full((1, 2, 2), 9, dtype=torch.uint8), 9, id="torch one channel"),
        pytest.param(np.ones((2, 2), bool), 255, id="bool"),
        pytest.param(np.zeros((2, 2, 4), np.uint8), 255, id="transparent"),
        pytest.param(np.full((2, 2), 1.0005), 255, id="a little above 1"),
        pytest.param(PIL.Image.new("L", (2, 2), 9), 9, id="PIL grey"),
        pytest.param(PIL.Image.new("1", (2, 2), 1), 255, id="PIL one bit"),
        pytest.param(PIL.Image.new("RGBA", (2, 2), (0, 0, 0, 0)), 255, id="PIL transparent"),
        pytest.param(PIL.Image.fromarray(np.full((2, 2), 257 * 9, np.uint16)), 9, id="PIL 16 bits"),
    ],
)
def test_all_become_rgb(picture, value):
    read = read_picture(picture)
    assert read.shape == (3, 2, 2)
    assert read.unique().tolist() == [value]


@pytest.mark.parametrize(("width", "height"), [(3, 9), (4, 4), (1, 3)])
def test_axes_are_never_guessed(width, height):
    assert read_picture(np.zeros((height, width, 3), np.uint8)).shape == (3, height, width)
    assert read_picture(torch.zeros((3, height, width))).shape == (3, height, width)


def test_a_photograph_is_turned_upright(tmp_path):
    picture = PIL.Image.new("RGB", (30, 20))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (3, 30, 20)
    assert read_picture(PIL.Image.open(tmp_path / "a.jpg")).shape == (3, 30, 20)


def _exif(orientation):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


@pytest.mark.parametrize("size", [(1, 1), (97, 64), (150, 211)], ids=str)
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        pytest.param("RGB", {"subsampling": "4:4:4"}, id="4:4:4"),
        pytest.param("RGB", {"subsampling": "4:2:2"}, id="4:2:2"),
        pytest.param("RGB", {"subsampling": "4:2:0"}, id="4:2:0"),
        pytest.param("RGB", {"progressive": True, "quality": 95}, id="progressive"),
        pytest.param("L", {}, id="grey"),
        pytest.param("CMYK", {}, id="CMYK"),
        *(pytest.param("RGB", _exif(orientation), id=f"EXIF {orientation}") for orientation in range(1, 9)),
    ],
)
def test_a_photograph_keeps_every_pixel_that_pillow_decodes(tmp_path, size, mode, options):
    y, x = np.mgrid[: size[1], : size[0]]
    smooth = 127 + 100 * np.stack([np.sin(x / 7), np.cos(y / 5), np.sin((x + y) / 9)], -1)
    noisy = (smooth + np.random.default_rng(2).normal(0, 20, smooth.shape)).clip(0, 255)
    PIL.Image.fromarray(noisy.astype(np.uint8)).convert(mode).save(tmp_path / "a.jpg", **options)
    with PIL.Image.open(tmp_path / "a.jpg") as image:
        decoded = np.array(PIL.ImageOps.exif_transpose(image).convert("RGB"))
    expected = torch.from_numpy(decoded).permute(2, 0, 1)
    read = read_picture(tmp_path / "a.jpg")
    assert torch.equal(read, expected)
    processor = GroundingDinoImageProcessor(size=(40, 53))
    prepared = naive.normalise(naive.resize(expected, (40, 53)))
    for picture in (tmp_path / "a.jpg", decoded, read):
        pixels = processor(picture, input_data_format="channels_last" if picture is decoded else "channels_first")
        assert torch.equal(pixels.pixel_values[0], prepared)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        pytest.param(np.zeros((0, 4, 3), np.uint8), r"no pixels: its shape is \(0, 4, 3\)", id="empty array"),
        pytest.param(torch.zeros((3, 0, 4)), "no pixels", id="empty tensor"),
        pytest.param(b"", "0 bytes", id="empty bytes"),
        pytest.param("", r"no picture file '\.'", id="empty path"),
        pytest.param(None, "cannot be a NoneType. Give a path", id="None"),
        pytest.param([PIXELS], "cannot be a list.*detect_many", id="list"),
        pytest.param(np.zeros(3), r"has the shape \(3,\). Give a numpy array \[H, W, C\]", id="one axis"),
        pytest.param(np.zeros((1, 4, 4, 3)), r"has the shape \(1, 4, 4, 3\)", id="batch"),
        pytest.param(np.zeros((3, 40, 40)), r"\(3, 40, 40\). Give a numpy array \[H, W, C\]", id="numpy CHW"),
        pytest.param(torch.zeros((40, 40, 3)), r"\(40, 40, 3\). Give a torch tensor \[C, H, W\]", id="torch HWC"),
        pytest.param(np.zeros((4, 4, 2)), "1, 3 or 4 channels", id="two channels"),
        pytest.param(np.full((4, 4), 255.0), "floating numbers must hold 0 to 1, but holds 255", id="float 0..255"),
        pytest.param(np.full((4, 4), -1.0), "holds -1 to -1. Undo a normalisation", id="negative"),
        pytest.param(np.full((4, 4), np.nan), "holds nan", id="NaN"),
        pytest.param(np.full((4, 4), 256), "integers must hold 0 to 255, but holds 256", id="int above 255"),
        pytest.param(np.zeros((4, 4), complex), "cannot hold values of the type complex128", id="complex"),
        pytest.param(b"not a picture", "not a readable picture", id="text"),
        pytest.param("nowhere.png", "no picture file 'nowhere.png'", id="missing file"),
        pytest.param("https://example.com/a.png", "is a URL, .* Use allow_url=True", id="URL"),
    ],
)
def test_what_is_no_picture(picture, message):
    with pytest.raises(ImageError, match=message):
        read_picture(picture)


def test_a_url_is_read_when_allowed(tmp_path, monkeypatch):
    PIL.Image.fromarray(PIXELS).save(tmp_path / "a.png")
    asked = []

    def answer(request, timeout):
        asked.append(request.full_url)
        return (tmp_path / "a.png").open("rb")

    monkeypatch.setattr("groundling.pictures.reading.urlopen", answer)
    assert torch.equal(read_picture("http://example.com/a.png", allow_url=True), EXPECTED)
    assert asked == ["http://example.com/a.png"]


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(ImageError, match=re.escape(repr(str(tmp_path)))):
        read_picture(tmp_path)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((4, 4, 3), np.uint32), id="uint32"),
        pytest.param(np.zeros((4, 4, 3), np.uint64), id="uint64"),
        pytest.param(torch.zeros(3, 4, 4).to_sparse(), id="sparse"),
        pytest.param(torch.zeros(3, 4, 4, device="meta"), id="meta"),
        pytest.param(torch.zeros(3, 4, 4, dtype=torch.float8_e4m3fn), id="float8"),
        pytest.param("~nobody_of_that_name/a.png", id="no such home"),
        pytest.param("a" * 100_000, id="long path"),
    ],
)
def test_odd_pictures_are_refused(image):
    with pytest.raises(ImageError) as caught:
        read_picture(image)
    assert len(str(caught.value)) < 500
