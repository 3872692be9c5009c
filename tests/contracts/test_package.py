"""What the package promises before a line of it is used: names, imports, and what is in the wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import groundling
from contracts.conftest import ROOT
from groundling.configuration.presets import tiny

PUBLIC = {
    "AutoConfig",
    "AutoModel",
    "AutoModelForZeroShotObjectDetection",
    "AutoProcessor",
    "BertConfig",
    "Caption",
    "CheckpointError",
    "ConfigError",
    "DatasetError",
    "Detection",
    "Detections",
    "Detector",
    "Explanation",
    "GroundedSam",
    "GroundingDinoConfig",
    "GroundingDinoForObjectDetection",
    "GroundingDinoImageProcessor",
    "GroundingDinoImageProcessorFast",
    "GroundingDinoModel",
    "GroundingDinoProcessor",
    "GroundingDinoTokenizer",
    "GroundlingError",
    "ImageError",
    "MMGroundingDinoConfig",
    "MMGroundingDinoForObjectDetection",
    "MMGroundingDinoModel",
    "MaskOptions",
    "Masks",
    "MissingExtraError",
    "Prompt",
    "PromptEncoding",
    "PromptError",
    "SwinConfig",
    "Tiles",
    "TrackedFrame",
    "Vocabulary",
    "__version__",
}


def python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return result.stdout.strip()


def test_public_names_are_fixed_and_exist() -> None:
    assert set(groundling.__all__) == PUBLIC
    assert dir(groundling) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(groundling, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Detektor'"):
        _ = groundling.Detektor
    assert groundling.GroundingDinoImageProcessorFast is groundling.GroundingDinoImageProcessor


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'PIL', 'scipy', 'tokenizers', 'supervision', 'huggingface_hub', 'transformers', 'cv2'}"
    assert python(f"import sys, groundling; print(sorted({heavy} & set(sys.modules)))") == "[]"


def test_the_model_imports_neither_drawing_nor_the_reference() -> None:
    heavy = "{'scipy', 'supervision', 'cv2', 'matplotlib', 'transformers', 'torchvision', 'pycocotools', 'rich'}"
    code = f"import sys; from groundling import Detector, AutoModel; print(sorted({heavy} & set(sys.modules)))"
    assert python(code) == "[]"


def test_importing_changes_nothing_global() -> None:
    code = (
        "import os, torch, random; before = (dict(os.environ), torch.get_default_dtype(), torch.get_num_threads(),"
        " torch.initial_seed(), random.getstate()); from groundling import Detector, Detections;"
        " print(before == (dict(os.environ), torch.get_default_dtype(), torch.get_num_threads(),"
        " torch.initial_seed(), random.getstate()))"
    )
    assert python(code) == "True"


def test_state_dict_names_are_fixed() -> None:
    """Files are translated by name: a renamed module must come with a change of the key maps."""
    names = groundling.GroundingDinoForObjectDetection(tiny()).state_dict()
    recorded = (Path(__file__).parent / "state_dict_names.txt").read_text(encoding="utf-8").split()
    assert sorted(names) == recorded


@pytest.mark.slow
def test_the_wheel_is_pure_python_and_complete(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"groundling-{groundling.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"groundling-{groundling.__version__}.dist-info/METADATA").decode()
    sources = {str(p.relative_to(ROOT / "src")) for p in (ROOT / "src/groundling").rglob("*") if p.is_file()}
    assert {name for name in sources if "__pycache__" not in name} == {n for n in names if ".dist-info/" not in n}
    assert not [name for name in names if name.endswith((".so", ".pyd", ".c", ".cpp", ".cu"))]
    assert {"groundling/py.typed", "groundling/processing/bert_base_uncased_vocab.txt"} <= names
    core = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert not [line for line in core if any(name in line for name in ("transformers", "torchvision", "timm"))]
