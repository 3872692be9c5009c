from pathlib import Path

import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from groundling.errors import CheckpointError
from groundling.files import locate


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A hub cache with one file of one repository, as the hub's client lays it out."""
    repository = tmp_path / "models--someone--model"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(snapshot.name)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("./missing", id="relative path"),
        pytest.param("/missing/folder", id="absolute path"),
        pytest.param("weights.pth", id="file name"),
        pytest.param("a/b/c", id="too many parts"),
        pytest.param("what is this?", id="not an id"),
        pytest.param(Path("missing"), id="path object"),
    ],
)
def test_names_that_are_nothing(name: str | Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file or folder .* not a hub id"):
        locate(name)


def test_a_folder(tmp_path: Path) -> None:
    location = locate(tmp_path)
    assert location.file is None
    assert location.find("config.json") is None
    with pytest.raises(CheckpointError, match=r"has no file 'config.json'. The folder is empty"):
        location.require("config.json")
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"The folder holds: readme.txt"):
        location.require("config.json")
    (tmp_path / "config.json").write_text("{}")
    assert location.require("config.json") == tmp_path / "config.json"
    with pytest.raises(CheckpointError, match="no subfolder 'part'"):
        locate(tmp_path, subfolder="part")


def test_a_file_brings_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    location = locate(tmp_path / "model.pth")
    assert location.file == tmp_path / "model.pth"
    assert location.find("config.json") == tmp_path / "config.json"


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that answers the first question."""
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda *_, **__: None)


@pytest.mark.usefixtures("reachable")
def test_the_cache_is_used_before_the_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no_network(_: str, filename: str, **__: object) -> None:
        asked.append(filename)
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", no_network)
    location = locate("someone/model", cache_dir=cache)
    assert location.require("config.json").read_text() == "{}"
    assert location.first_of("other.json", "config.json") == location.find("config.json")
    assert asked == []
    assert location.find("model.safetensors") is None, "a cached repository is taken as it is"
    assert location.find("vocab.txt") is None
    assert asked == ["model.safetensors"], "an unreachable hub is asked once"
    with pytest.raises(CheckpointError, match=r"has no file 'vocab.txt'.*the hub cannot be reached"):
        location.require("vocab.txt")


def test_without_network(cache: Path) -> None:
    location = locate("someone/model", cache_dir=cache, local_files_only=True)
    with pytest.raises(CheckpointError, match="local_files_only forbids the network"):
        location.require("model.safetensors")
    with pytest.raises(CheckpointError, match=r"no file or folder 'someone/other' here.*could not be fetched"):
        locate("someone/other", cache_dir=cache).find("config.json")  # the tests run offline


@pytest.mark.usefixtures("reachable")
def test_a_file_that_the_repository_does_not_have(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise EntryNotFoundError("404")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", absent)
    location = locate("someone/model", cache_dir=cache)
    assert location.find("vocab.txt") is None
    with pytest.raises(CheckpointError, match=r"has no file 'vocab.txt'. Check the name"):
        location.require("vocab.txt")


@pytest.mark.usefixtures("reachable")
def test_errors_of_the_hub_are_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("500 server error\nand a long story")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
    with pytest.raises(CheckpointError, match=r"\(RuntimeError: 500 server error\)"):
        locate("someone/model", cache_dir=cache).find("vocab.txt")


def test_no_network_is_noticed_before_a_download_is_tried(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(url: str, **_: object) -> None:
        asked.append(url)
        raise ConnectionError("no route")

    def download(*_: object, **__: object) -> None:
        raise AssertionError("a download retries for half a minute")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", refuse)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    location = locate("someone/model", cache_dir=cache)
    assert location.find("model.safetensors") is None
    assert location.find("vocab.txt") is None
    assert len(asked) == 1
    with pytest.raises(CheckpointError, match=r"someone/other.*ConnectionError: no route"):
        locate("someone/other", cache_dir=cache).find("config.json")
