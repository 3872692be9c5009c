"""Uploads, as the page hands them over."""

import pytest

from groundling.app.downloads import uploaded
from groundling.app.temporary import TemporaryFiles
from groundling.errors import ImageError


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with TemporaryFiles() as files:
        (files.uploads / "0a").mkdir(parents=True)
        (files.uploads / "0a" / "scene.png").write_bytes(b"a picture")
        yield files


@pytest.mark.parametrize(
    "upload",
    [
        pytest.param(None, id="nothing"),
        pytest.param({}, id="empty"),
        {"path": None},
        {"path": ""},
        "/etc/hostname",
        ["/etc/hostname"],
        7,
    ],
)
def test_no_upload(files, upload):
    assert uploaded(upload, files) == (None, "")


def test_an_upload_has_the_name_that_it_had_where_it_came_from(files):
    path = files.uploads / "0a" / "scene.png"
    assert uploaded({"path": str(path)}, files) == (path, "scene.png")
    assert uploaded({"path": str(path), "orig_name": "../holiday.png"}, files) == (path, "holiday.png")


@pytest.mark.parametrize("name", ["", "0a", "0a/gone.png", "a" * 5000])
def test_an_upload_that_is_no_file(files, name):
    with pytest.raises(ImageError, match="was let go, as all uploads are after an hour"):
        uploaded({"path": str(files.uploads / name)}, files)


@pytest.mark.parametrize("path", ["/etc/hostname", "etc/hostname", "made/a.png", "http://127.0.0.1/a.png", "a\0b", 7])
def test_what_was_not_uploaded(files, path):
    with pytest.raises(ImageError, match="was not uploaded") as caught:
        uploaded({"path": path, "orig_name": "holiday.png"}, files)
    assert "'holiday.png'" in str(caught.value)


def test_what_only_leads_out_of_the_folder(files, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"a secret")
    (files.uploads / "link.png").symlink_to(tmp_path / "secret.png")
    (files.uploads / "linked").symlink_to(tmp_path)
    (files.uploads / "circle").symlink_to(files.uploads / "circle")
    for name in ("link.png", "linked/secret.png", "../../secret.png", "circle"):
        with pytest.raises(ImageError, match="was not uploaded"):
            uploaded({"path": f"{files.uploads}/{name}"}, files)
