"""Every kind of picture a caller may hold, good and bad."""

import base64
import io
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from groundling.errors import ConfigError, ImageError
from groundling.pictures import reading
from groundling.processing import GroundingDinoImageProcessor, open_picture, rgb_picture
from groundling.processing.images import array_tensor, picture_list, picture_tensor

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PNG = encoded(Image.fromarray(PIXELS))


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    return path


def as_pixels(picture, **options) -> np.ndarray:
    return picture_tensor(picture, index=0, **options).permute(1, 2, 0).numpy()


def test_programs_are_not_opened(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.eps")
    with pytest.raises(ImageError, match=r"a.eps' is PostScript, a program that would be run"):
        open_picture(tmp_path / "a.eps")


def test_a_picture_that_is_too_large_says_what_to_do(tmp_path, monkeypatch):
    Image.new("RGB", (60, 40)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ImageError, match=r"large.png' is too large to be held whole .* in tiles: --tile 800"):
        open_picture(tmp_path / "large.png")


def test_sources_of_one_picture_agree(png: Path) -> None:
    text = base64.b64encode(PNG).decode()
    sources = [png, str(png), PNG, text, f"data:image/png;base64,{text}", Image.fromarray(PIXELS), PIXELS]
    sources += [torch.from_numpy(PIXELS), torch.from_numpy(PIXELS).permute(2, 0, 1), PIXELS.transpose(2, 0, 1)]
    sources += [PIXELS[:, ::-1][:, ::-1], PIXELS.astype(">i4")]
    for source in sources:
        np.testing.assert_array_equal(as_pixels(source), PIXELS)


class _OnePicture(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/picture.png" else 404)
        self.end_headers()
        if self.path == "/picture.png":
            self.wfile.write(PNG)

    def log_message(self, format: str, *args) -> None:
        pass


def test_a_url_is_downloaded_and_a_dead_one_is_named() -> None:
    server = HTTPServer(("127.0.0.1", 0), _OnePicture)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        np.testing.assert_array_equal(as_pixels(f"{address}/picture.png"), PIXELS)
        with pytest.raises(ImageError, match=r"gone\.png' cannot be downloaded .*404"):
            as_pixels(f"{address}/gone.png")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("images", "count"),
    [
        (PIXELS, 1),
        (np.stack([PIXELS, PIXELS]), 2),
        ([np.stack([PIXELS, PIXELS]), PIXELS], 3),
        (([PIXELS], [], [PIXELS, (PIXELS,)]), 3),
        (torch.zeros(4, 3, 5, 5), 4),
        (PIXELS[:, :, 0], 1),
    ],
)
def test_nested_pictures_are_flattened(images, count) -> None:
    assert len(picture_list(images)) == count


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        pytest.param([], ImageError, "holds no picture", id="empty"),
        pytest.param([[], ()], ImageError, "holds no picture", id="empty lists"),
        (None, TypeError, "images is None.*imread"),
        ([PIXELS, None], TypeError, r"images\[1\] is None"),
        ({"image": PIXELS}, TypeError, "images is of type dict"),
        ([[1, 2], [3, 4]], TypeError, r"images\[0\]\[0\] is of type int"),
    ],
)
def test_what_is_no_picture(images, error, message) -> None:
    with pytest.raises(error, match=message):
        picture_list(images)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        pytest.param(np.zeros((0, 4, 3)), r"has no pixels: its shape is \(0, 4, 3\)", id="no rows"),
        pytest.param(np.zeros((4, 0)), "has no pixels", id="no columns"),
        pytest.param(torch.zeros(3, 0, 4), "has no pixels", id="empty tensor"),
        pytest.param(Image.new("RGB", (0, 3)), "has no pixels: its size is 0x3", id="empty PIL"),
        pytest.param(np.full((4, 4, 3), np.nan), "not finite", id="NaN"),
        pytest.param(np.full((4, 4, 3), np.inf, np.float16), "not finite", id="infinity"),
        pytest.param(torch.full((3, 4, 4), torch.nan), "not finite", id="NaN tensor"),
        pytest.param(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "not finite", id="NaN in mode F"),
        pytest.param(np.zeros((4, 4, 3), complex), "array of complex128", id="complex"),
        pytest.param(np.full((4, 4, 3), "a"), "array of <U1", id="text"),
        pytest.param(np.full((4, 4, 3), None), "array of object", id="objects"),
        pytest.param(torch.zeros((3, 4, 4), dtype=torch.complex64), "tensor of torch.complex64", id="complex tensor"),
        pytest.param(np.zeros(4), r"has the shape \(4,\)", id="one axis"),
        pytest.param(np.zeros((1, 1, 3, 4, 4)), "has the shape", id="five axes"),
        pytest.param(np.zeros((5, 6, 7)), "no channel axis of 1, 3 or 4", id="seven channels"),
        pytest.param("", "is blank", id="blank text"),
        pytest.param("no/such/file.png", "There is no picture file 'no/such/file.png'", id="missing file"),
        pytest.param("cat", "There is no picture file 'cat'", id="looks like base64"),
        pytest.param(Path("no.png"), "There is no picture file 'no.png'", id="missing path"),
        pytest.param("data:image/png;base64,!!!", "not valid base64", id="bad base64"),
        pytest.param("data:image/png;base64,aGVsbG8gd29ybGQ=", "not a readable picture", id="base64 of text"),
        pytest.param(b"hello world", "the picture of 11 bytes is not a readable picture", id="bytes of text"),
        pytest.param("x" * 5000, r"\(5000 characters\)", id="long text"),
    ],
)
def test_bad_pictures(picture, message) -> None:
    with pytest.raises(ImageError, match=message):
        picture_tensor(picture, index=0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda data: b"", r"broken\.img' is empty: the file has 0 bytes", id="empty"),
        pytest.param(lambda data: b"I am no picture", r"broken\.img' is not a readable picture", id="text"),
        pytest.param(lambda data: data[: len(data) // 2], r"broken\.img'", id="truncated"),
        pytest.param(lambda data: data[:20], r"broken\.img'", id="header only"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, kind, damage, message) -> None:
    path = tmp_path / "broken.img"
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(damage(encoded(noise, kind)))
    with pytest.raises(ImageError, match=message):
        GroundingDinoImageProcessor()(path)


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="There is no picture file"):
        open_picture(tmp_path)


def test_a_truncated_picture_that_pillow_opened_lazily(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded(Image.fromarray(np.tile(PIXELS, (20, 20, 1))), "JPEG")[:-3000])
    with Image.open(path) as image, pytest.raises(ImageError, match="picture 4 cannot be decoded"):
        picture_tensor(image, index=4)


GREY = PIXELS[:, :, 0]
RED_AND_CLEAR = np.zeros((2, 2, 4), np.uint8)
RED_AND_CLEAR[0] = (255, 0, 0, 255)


def palette(transparent: bool) -> Image.Image:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "L").convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    if transparent:
        image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(Image.fromarray(GREY), np.stack([GREY] * 3, -1), id="L"),
        pytest.param(Image.fromarray(GREY > 99), np.stack([(GREY > 99) * 255] * 3, -1), id="1"),
        pytest.param(
            Image.merge("LA", [Image.new("L", (1, 1), 10), Image.new("L", (1, 1), 0)]), [[[255] * 3]], id="LA clear"
        ),
        pytest.param(Image.fromarray(RED_AND_CLEAR), [[[255, 0, 0]] * 2, [[255, 255, 255]] * 2], id="RGBA on white"),
        pytest.param(palette(False), [[[255, 0, 0], [0, 0, 255]], [[0, 0, 255], [255, 0, 0]]], id="P"),
        pytest.param(
            palette(True), [[[255, 0, 0], [255, 255, 255]], [[255, 255, 255], [255, 0, 0]]], id="P with transparency"
        ),
        pytest.param(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), [[[255, 0, 0]]], id="CMYK"),
        pytest.param(
            Image.fromarray(np.array([[0, 257, 65535, 60000]], np.uint16)),
            [[[0] * 3, [1] * 3, [255] * 3, [233] * 3]],
            id="I;16",
        ),
        pytest.param(
            Image.fromarray(np.array([[0, 514, 65535]], np.int32)), [[[0] * 3, [2] * 3, [255] * 3]], id="I of 16 bits"
        ),
        pytest.param(Image.fromarray(np.array([[-5, 7, 255]], np.int32)), [[[0] * 3, [7] * 3, [255] * 3]], id="I of 8"),
        pytest.param(
            Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), [[[0] * 3, [128] * 3, [255] * 3]], id="F within 0..1"
        ),
        pytest.param(
            Image.fromarray(np.array([[0, 7.4, 255]], np.float32)), [[[0] * 3, [7] * 3, [255] * 3]], id="F within 255"
        ),
        pytest.param(
            Image.fromarray(np.array([[0, 514, 65535]], np.float32)), [[[0] * 3, [2] * 3, [255] * 3]], id="F of 16 bits"
        ),
    ],
)
def test_every_mode_becomes_rgb(image, expected) -> None:
    before = image.tobytes()
    np.testing.assert_array_equal(as_pixels(image), np.asarray(expected, np.uint8))
    assert image.tobytes() == before


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "1", "P", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (40, 3)], ids=str)
def test_every_mode_goes_through_the_processor(mode, size) -> None:
    pixels = GroundingDinoImageProcessor(size=(8, 8))(Image.new(mode, size), return_tensors="pt").pixel_values
    assert pixels.shape == (1, 3, 8, 8)
    assert bool(torch.isfinite(pixels).all())


def test_half_transparent_arrays_and_pictures_agree() -> None:
    rgba = np.concatenate([PIXELS, RNG.integers(0, 256, (6, 8, 1), dtype=np.uint8)], axis=2)
    blended = as_pixels(rgba)
    exact = PIXELS * (rgba[..., 3:] / 255) + 255 * (1 - rgba[..., 3:] / 255)
    assert blended.dtype == np.uint8
    assert np.abs(blended - exact).max() <= 0.5001
    assert np.abs(blended.astype(int) - as_pixels(Image.fromarray(rgba))).max() <= 1
    unit = as_pixels(rgba / 255, white=1.0)
    np.testing.assert_allclose(unit, exact / 255, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (1, 6, 8)])
def test_grey_arrays_are_repeated(shape) -> None:
    np.testing.assert_array_equal(as_pixels(GREY.reshape(shape)), np.stack([GREY] * 3, -1))


def test_the_channel_axis_can_be_named() -> None:
    array = np.zeros((3, 5, 3), np.uint8)
    assert picture_tensor(array, index=0).shape == (3, 5, 3)
    assert picture_tensor(array, index=0, channels="channels_last").shape == (3, 3, 5)
    with pytest.raises(ConfigError, match="input_data_format='sideways' is not known"):
        picture_tensor(array, index=0, channels="sideways")


@pytest.mark.parametrize(
    ("picture", "channels"),
    [(Image.fromarray(GREY), 1), (palette(False), 1), (Image.fromarray(RED_AND_CLEAR), 4), (GREY, 1)],
)
def test_channels_are_kept_on_demand(picture, channels) -> None:
    tensor = picture_tensor(picture, index=0, convert_rgb=False)
    assert tensor.shape[0] == channels
    with pytest.raises(ImageError, match=f"has {channels} channels, but image_mean has 3 values"):
        GroundingDinoImageProcessor(do_convert_rgb=False)(picture)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(tmp_path: Path, orientation) -> None:
    upright = Image.new("RGB", (40, 24))
    upright.paste((255, 255, 255), (0, 0, 12, 8))  # white top left corner
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that the camera would have done
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    stored.save(path, exif=exif)
    np.testing.assert_array_equal(np.asarray(open_picture(path)), np.asarray(upright))
    with Image.open(path) as image:
        if orientation == 1:
            np.testing.assert_array_equal(np.asarray(rgb_picture(image, "it")), np.asarray(upright))
        else:
            with pytest.warns(UserWarning, match=f"it has the EXIF orientation {orientation} and was turned upright"):
                np.testing.assert_array_equal(np.asarray(rgb_picture(image, "it")), np.asarray(upright))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 13), (5, 12), (5, 13), (200, 3)], ids=str)
@pytest.mark.parametrize("strip", [1, 60, 1000], ids=lambda strip: f"strips of {strip} bytes")
def test_strips_make_the_whole_picture(monkeypatch, size, strip) -> None:
    monkeypatch.setattr(reading, "STRIP_BYTES", strip)
    image = Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    array = reading.rgb_array(image)
    np.testing.assert_array_equal(array, np.asarray(image))
    assert array.flags.writeable
    assert array.flags.c_contiguous


def test_arrays_are_copied_only_where_torch_cannot_read_them() -> None:
    plain, fixed = np.arange(12.0).reshape(3, 4), np.arange(12.0).reshape(3, 4)
    fixed.flags.writeable = False
    for array, is_shared in [
        (np.zeros((0, 4)), False),
        (plain, True),
        (fixed, False),
        (plain.T, False),
        (plain[:, ::-1], False),
        (plain[:, :1][:, ::-1], False),
        (plain[:1, :1][::-1], False),  # contiguous, and its stride is negative
        (plain.astype(">f8"), False),
        (np.ma.masked_array(plain), True),
    ]:
        tensor = array_tensor(array)
        np.testing.assert_array_equal(tensor.numpy(), np.asarray(array))
        assert np.shares_memory(tensor.numpy(), array) is is_shared


def test_the_callers_array_is_not_changed() -> None:
    for array in (PIXELS.copy(), PIXELS.astype(np.float32)):
        before = array.copy()
        GroundingDinoImageProcessor(size=(6, 8))(array)
        np.testing.assert_array_equal(array, before)
