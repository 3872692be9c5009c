"""Large files read from top to bottom: the pixels of every other way of reading, in little memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundling.errors import ImageError, MissingExtraError
from groundling.pictures import strips
from groundling.pictures.reading import open_picture
from groundling.pictures.strips import ArrayStrips, FileStrips, open_strips, upright, upright_wh, upright_window

WIDTH, HEIGHT = 61, 300
GREY = ((np.arange(WIDTH) * 3 + np.arange(HEIGHT)[:, None]) % 256).astype(np.uint8)
RGB = np.stack([GREY, GREY[:, ::-1], 255 - GREY], axis=2)
ALPHA = np.roll(GREY, 100, axis=0)
SIXTEEN_BIT = GREY.astype(np.uint16) * 200 + 77


@pytest.fixture(autouse=True)
def no_file_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "WHOLE_PIXELS", 1)


def opened(path: Path) -> FileStrips:
    result = open_strips(path)
    assert result is not None
    return result


def pixels_of(path: Path, height: int = 40) -> np.ndarray:
    """The upright picture, put together from bands."""
    file = opened(path)
    rows = file.stored_wh[1]
    bands = [file.band(top, min(top + height, rows)).copy() for top in range(0, rows, height)]
    return upright(np.concatenate(bands), file.orientation)


KINDS = {
    "RGB": Image.fromarray(RGB),
    "L": Image.fromarray(GREY),
    "1": Image.fromarray(GREY).convert("1"),
    "P": Image.fromarray(RGB).quantize(16),
    "LA": Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]),
    "RGBA": Image.fromarray(np.dstack([RGB, ALPHA])),
    "I;16": Image.fromarray(SIXTEEN_BIT),
    "CMYK": Image.fromarray(RGB).convert("CMYK"),
}


@pytest.mark.parametrize(
    ("mode", "name", "options"),
    [
        *((mode, "a.png", {}) for mode in KINDS if mode != "CMYK"),
        *((mode, "a.tif", {"compression": "tiff_deflate"}) for mode in KINDS if mode != "P"),
        ("RGB", "a.tif", {}),
        ("RGB", "a.tif", {"compression": "tiff_lzw"}),
        ("P", "a.png", {"transparency": 3}),
        ("P", "a.gif", {}),
        ("RGB", "a.webp", {"lossless": True}),
        ("RGBA", "a.webp", {"lossless": True}),
    ],
)
def test_pixels_are_those_of_every_other_way(tmp_path: Path, mode: str, name: str, options: dict) -> None:
    path = tmp_path / name
    KINDS[mode].save(path, **options)
    np.testing.assert_array_equal(pixels_of(path), np.asarray(open_picture(path)))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_a_jpeg_differs_by_little(tmp_path: Path, mode: str, options: dict) -> None:
    path = tmp_path / "a.jpg"
    KINDS[mode].save(path, **options)
    difference = np.abs(pixels_of(path).astype(int) - np.asarray(open_picture(path)))
    assert difference.max() <= 3


@pytest.mark.parametrize(("channels", "interpretation"), [(2, "grey16"), (3, "rgb16"), (4, "rgb16")])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_a_channel(tmp_path: Path, channels: int, interpretation: str, ending: str) -> None:
    import pyvips

    if (channels, ending) == (2, "tif"):
        pytest.skip("Pillow cannot read it")
    values = np.dstack([SIXTEEN_BIT, SIXTEEN_BIT[::-1], 65535 - SIXTEEN_BIT, SIXTEEN_BIT[:, ::-1]])[:, :, :channels]
    path = tmp_path / f"a.{ending}"
    pyvips.Image.new_from_array(np.ascontiguousarray(values)).copy(interpretation=interpretation).write_to_file(path)
    np.testing.assert_array_equal(pixels_of(path), np.asarray(open_picture(path)))


@pytest.mark.parametrize("orientation", [0, *range(1, 10)])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_photographs_that_lie(tmp_path: Path, name: str, orientation: int) -> None:
    if name == "a.tif" and orientation not in range(1, 9):
        pytest.skip("libtiff refuses such a file")
    path = tmp_path / name
    exif = Image.Exif()
    exif[0x0112] = orientation
    KINDS["RGB"].save(path, exif=exif, **({"lossless": True} if name.endswith("webp") else {}))
    np.testing.assert_allclose(pixels_of(path).astype(int), np.asarray(open_picture(path)), atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_window_is_turned_like_its_pixels(orientation: int) -> None:
    whole = upright(RGB, orientation)
    assert upright_wh((WIDTH, HEIGHT), orientation) == (whole.shape[1], whole.shape[0])
    left, top, right, bottom = upright_window((5, 20, 17, 60), (WIDTH, HEIGHT), orientation)
    np.testing.assert_array_equal(whole[top:bottom, left:right], upright(RGB[20:60, 5:17], orientation))


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "a [n=2] ü.png"  # brackets are options to libvips
    KINDS["RGB"].save(path)
    return path


@pytest.mark.parametrize(
    "windows",
    [
        pytest.param([(0, 0), (0, 1)], id="empty"),
        pytest.param([(0, 100), (80, 180), (160, 260), (200, 300)], id="overlapping"),
        pytest.param([(0, 300), (299, 300)], id="all"),
        pytest.param([(0, 1), (130, 131), (270, 300)], id="with gaps"),
        pytest.param([(10, 20), (10, 150), (10, 20), (11, 300)], id="growing"),
    ],
)
@pytest.mark.parametrize("shrink", [0, 1, 3, 200])
def test_bands_may_overlap_and_leave_gaps(png: Path, windows: list[tuple[int, int]], shrink: int) -> None:
    file = opened(png)
    if shrink and shrink <= WIDTH:
        file.prepare_small(shrink)
    for top, bottom in windows:
        np.testing.assert_array_equal(file.band(top, bottom), RGB[top:bottom])


@pytest.mark.parametrize("shrink", [1, 2, 3, 7, 61])
@pytest.mark.parametrize("before", [[], [(0, 300)], [(0, 10), (200, 210)]], ids=str)
def test_the_small_copy_is_the_mean_of_blocks(png: Path, shrink: int, before: list[tuple[int, int]]) -> None:
    file = opened(png)
    file.prepare_small(shrink)
    for top, bottom in before:
        file.band(top, bottom)
    rows, columns = HEIGHT // shrink, WIDTH // shrink
    blocks = RGB[: rows * shrink, : columns * shrink].reshape(rows, shrink, columns, shrink, 3)
    small = file.small()
    assert file.shrink == shrink
    assert small.shape == (rows, columns, 3)
    assert np.abs(small - blocks.mean(axis=(1, 3))).max() <= 0.51


def test_the_small_copy_is_upright(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    KINDS["RGB"].save(path, exif=exif)
    file = opened(path)
    file.prepare_small(1)
    np.testing.assert_array_equal(file.small(), np.asarray(open_picture(path)))
    with pytest.raises(ValueError, match="prepare_small was not called"):
        opened(path).small()


def test_an_array_is_read_in_the_same_way() -> None:
    picture = ArrayStrips(RGB)
    assert (picture.stored_wh, picture.orientation, picture.shrink) == ((WIDTH, HEIGHT), 1, 1)
    np.testing.assert_array_equal(picture.band(7, 90), RGB[7:90])
    np.testing.assert_array_equal(picture.small(), RGB)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_file_that_is_cut_off_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (1500, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **({"compression": "tiff_deflate"} if name.endswith("tif") else {}))
    content = path.read_bytes()
    if name.endswith("tif"):  # its directory is at the end: spoil the middle
        content = content[: len(content) * 2 // 3] + bytes(1000) + content[len(content) * 2 // 3 + 1000 :]
    else:
        content = content[: len(content) * 2 // 3]
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"{name}' cannot be read beyond row \d+ of 1500 \(.*damaged or cut off"):
        pixels_of(path, height=100)


def test_what_is_read_whole(tmp_path: Path, png: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    for name in ("empty.png", "text.png", "missing.png", "."):
        assert open_strips(tmp_path / name) is None  # and reading it whole says what is wrong
    KINDS["RGB"].save(tmp_path / "a.bmp")  # libvips does not know it
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "f.tif")  # its range is known at the end only
    for name in ("a.bmp", "f.tif"):
        assert open_strips(tmp_path / name) is None
    monkeypatch.setattr(strips, "WHOLE_PIXELS", WIDTH * HEIGHT)
    assert open_strips(png) is None


@pytest.mark.parametrize("limit", [WIDTH * HEIGHT - 1, 100], ids=["Pillow warns", "Pillow refuses"])
def test_too_large_and_no_way_to_read_it_in_strips(
    tmp_path: Path, png: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    KINDS["RGB"].save(tmp_path / "a.bmp")
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "f.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    np.testing.assert_array_equal(pixels_of(png), RGB)
    with pytest.raises(ImageError, match=r"a\.bmp' is too large to be held whole .*not in a known.*Convert it"):
        open_strips(tmp_path / "a.bmp")
    with pytest.raises(ImageError, match=r"f\.tif' is too large .*values of the type float.*Convert it"):
        open_strips(tmp_path / "f.tif")
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(MissingExtraError, match=r"too large to be held whole, needs .*groundling\[tiles\]"):
        open_strips(png)


def test_without_the_package_pillow_reads_what_it_can(png: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvips", None)
    assert open_strips(png) is None


MEASURE = """
import resource, sys
import numpy as np
import pyvips
from pathlib import Path
import cv2  # not counted
from groundling.pictures.strips import open_strips
high = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = high()
picture = open_strips(Path(sys.argv[1]))
width, height = picture.stored_wh
picture.prepare_small(15)
for top in range(0, height - 799, 640):
    band = picture.band(top, min(top + 800, height))
    assert (abs(band[-1, ::500] - np.array([40, 90, 160])) < 4).all()
assert picture.small().shape == (height // 15, width // 15, 3)
print(high() - before, pyvips.cache_get_max())
"""


def growth(tmp_path: Path, name: str, side: int, **options) -> float:
    """Megabytes by which a fresh process grew while it read a flat picture of `side` x `side` pixels."""
    import pyvips

    path = tmp_path / name
    flat = pyvips.Image.black(side, side, bands=3).linear(0, [40, 90, 160]).cast("uchar")
    flat.copy(interpretation="srgb").write_to_file(path, **options)
    command = [sys.executable, "-c", MEASURE, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    megabytes, cached = result.stdout.split()
    assert cached == "100"  # libvips' own setting is left alone
    return float(megabytes)


def test_memory_is_bounded(tmp_path: Path) -> None:
    assert growth(tmp_path, "a.tif", 10_000, compression="deflate") < 200  # the picture has 286


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.tif", {"compression": "deflate"}),
        ("a.tif", {"compression": "deflate", "tile": True}),
        ("a.png", {"compression": 1}),
        ("a.jpg", {"Q": 85}),
    ],
    ids=["tiff", "tiled tiff", "png", "jpeg"],
)
def test_memory_is_bounded_for_twenty_thousand_pixels_a_side(tmp_path: Path, name: str, options: dict) -> None:
    assert growth(tmp_path, name, 20_000, **options) < 400  # the picture has 1144
