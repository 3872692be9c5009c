"""The training script of the bundled segmenter: its targets, its loss, and that a stopped run goes on exactly."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import SamImageProcessorPil, SamModel

from groundling.data.scenes import make_scene
from groundling.segmentation import load_segmenter

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "nano_sam"
SIDE = 32
SEED = 5


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nano_sam_train", FOLDER / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The script, of its own, with a model of 32 pixels, little data and a state after every second step."""
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    config["vision_config"] |= {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE}
    config["vision_config"] |= {"window_size": 2, "global_attn_indexes": [1], "output_channels": 16, "num_pos_feats": 8}
    config["prompt_encoder_config"] |= {"hidden_size": 16, "image_size": SIDE}
    config["mask_decoder_config"] |= {"hidden_size": 16, "iou_head_hidden_dim": 16, "mlp_dim": 16}
    config["mask_decoder_config"] |= {"num_attention_heads": 2}
    settings = json.loads((FOLDER / "preprocessor_config.json").read_text(encoding="utf-8"))
    settings |= {"size": {"longest_edge": SIDE}, "pad_size": {"height": SIDE, "width": SIDE}}
    settings |= {"mask_size": {"longest_edge": SIDE // 2}, "mask_pad_size": {"height": SIDE // 2, "width": SIDE // 2}}
    tiny = tmp_path_factory.mktemp("tiny")
    (tiny / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tiny / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    module = load_script()
    for name, value in {"HERE": tiny, "BATCH": 2, "SAVED_EVERY": 2, "MEASURED_SCENES": 1}.items():
        assert hasattr(module, name)
        setattr(module, name, value)
    return module


@pytest.fixture(scope="module")
def whole(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps."""
    folder = tmp_path_factory.mktemp("whole")
    script.train(folder, 4, SEED)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(SamModel.from_pretrained(folder).state_dict())


def averaged_weights(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "state.pt", weights_only=True)["averaged"]
    return {name.removeprefix("module."): state[name] for name in state if name != "n_averaged"}


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(
    script: ModuleType, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, make_batch = tmp_path, script.make_batch

    def interrupt(processor: Any, step: int, seed: int) -> Any:
        if step == 3:  # the third step is done, but its state was not kept
            raise KeyboardInterrupt
        return make_batch(processor, step, seed)

    with monkeypatch.context() as patch:
        patch.setattr(script, "make_batch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            script.train(stopped, 4, SEED)
    assert not (stopped / "model").exists()
    assert torch.load(stopped / "state.pt", weights_only=True)["step"] == 2
    script.train(stopped, 4, SEED)

    first, second = weights(whole / "model"), weights(stopped / "model")
    assert all(torch.equal(first[name], second[name]) for name in first)
    states = [torch.load(folder / "state.pt", weights_only=True) for folder in (whole, stopped)]
    for part in ("model", "averaged"):
        assert all(torch.equal(states[0][part][name], states[1][part][name]) for name in states[0][part])
    assert json.loads((stopped / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[-1])["step"] == 4


@pytest.fixture
def done(whole: Path, tmp_path: Path) -> Path:
    """A copy of the folder of the run of four steps."""
    return Path(shutil.copytree(whole, tmp_path / "done"))


def test_a_run_that_goes_on_says_what_is_other_and_drops_what_is_done_again(
    script: ModuleType, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(done / "state.pt", weights_only=True)
    assert (state["step"], state["steps"], state["seed"]) == (4, 4, SEED)
    lines = [json.dumps({"step": step}) + "\n" for step in (2, 4, 6)]
    (done / "metrics.jsonl").write_text("".join(lines) + '{"step": 8, "lo', encoding="utf-8")
    script.train(done, 5, SEED + 1)
    written = (done / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in written] == [2, 4, 5]
    said = capsys.readouterr().out
    assert f"goes on at step 4 with steps 5; it was 4\ngoes on at step 4 with seed {SEED + 1}; it was {SEED}" in said


def test_a_state_that_says_neither_steps_nor_seed_is_gone_on_with(
    script: ModuleType, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(done / "state.pt", weights_only=True)
    del state["steps"], state["seed"]
    torch.save(state, done / "state.pt")
    script.train(done, 4, SEED)
    assert capsys.readouterr().out == ""


def test_a_result_is_replaced_as_a_whole(script: ModuleType, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in (done / "model").iterdir()}
    assert sorted(before) == sorted(script.RESULT)

    def full(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(SamImageProcessorPil, "save_pretrained", full)
        with pytest.raises(OSError, match="disk is full"):
            script.train(done, 4, SEED)
    assert {path.name: path.read_bytes() for path in (done / "model").iterdir()} == before
    assert sorted(path.name for path in done.iterdir()) == ["metrics.jsonl", "model", "state.pt"]


def test_training_changes_the_weights_and_keeps_the_mean_of_them(script: ModuleType, whole: Path) -> None:
    torch.manual_seed(SEED)
    fresh = script.fresh_model().state_dict()
    last, mean = torch.load(whole / "state.pt", weights_only=True)["model"], averaged_weights(whole)
    name = "vision_encoder.patch_embed.projection.weight"
    assert 0 < (mean[name] - fresh[name]).abs().mean() < (last[name] - fresh[name]).abs().mean()


def test_the_result_is_the_mean_in_half_precision(script: ModuleType, whole: Path) -> None:
    mean, result = averaged_weights(whole), weights(whole / "model")
    assert set(result) == set(mean)
    assert all(torch.equal(result[name], mean[name].half()) for name in mean)


def test_transformers_loads_the_result_with_nothing_missing(whole: Path) -> None:
    _, report = SamModel.from_pretrained(whole / "model", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_groundling_loads_the_result(whole: Path) -> None:
    scene = make_scene(SEED, 0, split="seen", size=96)
    segmenter = load_segmenter(whole / "model", device="cpu")
    masks, scores = segmenter.decode(segmenter.encode([np.asarray(scene.image)])[0], scene.boxes_xyxy)
    assert len(masks) == len(scores) == len(scene.things)
    assert masks.image_wh == (96, 96)


# What is taught


@pytest.fixture(scope="module")
def full() -> ModuleType:
    return load_script()


@pytest.fixture(scope="module")
def processor() -> SamImageProcessorPil:
    return SamImageProcessorPil.from_pretrained(FOLDER)


def test_a_step_always_gets_the_same_pictures_and_another_step_others(full: ModuleType, processor: Any) -> None:
    one, same, other = (full.make_batch(processor, step, SEED) for step in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.pixel_BCSS, other.pixel_BCSS)


def test_boxes_lie_around_their_masks_in_the_models_pixels(
    full: ModuleType, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full, "JITTER", 0.0)
    side = 256
    for step in range(3):
        batch = full.make_batch(processor, step, SEED)
        assert batch.pixel_BCSS.shape == (full.BATCH, 3, side, side)
        assert batch.box_BK4.shape == (full.BATCH, full.BOXES, 4)
        assert batch.mask_BKSS.shape == (full.BATCH, full.BOXES, side, side)
        masks = batch.mask_BKSS.flatten(0, 1).numpy() > 0
        tight = np.stack([full._tight_box(mask) for mask in masks])
        assert (
            np.abs(tight - batch.box_BK4.flatten(0, 1).numpy()).max() <= 1.5
        )  # pixels of pictures of 128 are two wide
        outside = batch.valid_BSS[:, None] == 0
        assert not (batch.mask_BKSS * outside).any()
        assert not (batch.pixel_BCSS * outside).any()
        assert batch.valid_BSS.flatten(1).any(1).all()


def test_the_masks_are_those_of_the_scene(full: ModuleType, processor: Any) -> None:
    """The things of a scene stand out from what is around them, where the mask says, after scaling and padding too."""
    batch = full.make_batch(processor, 0, SEED)
    for number in range(full.BATCH):
        size = int(np.random.default_rng([SEED, number]).integers(full.SMALLEST_PICTURE, full.LARGEST_PICTURE))
        if batch.valid_BSS[number].all():  # not cut, so square
            scene = make_scene(SEED, number, size=size)
            for mask in batch.mask_BKSS[number].numpy() > 0:
                shrunk = mask[np.ix_(*[((np.arange(size) + 0.5) * 256 / size).astype(int)] * 2)]
                iou = [(shrunk & true).sum() / (shrunk | true).sum() for true in scene.masks]
                assert max(iou) > 0.9
            return
    pytest.fail("every picture of the batch was cut")


def test_some_pictures_are_cut_and_some_boxes_moved(full: ModuleType, processor: Any) -> None:
    batches = [full.make_batch(processor, step, SEED) for step in range(2)]
    cut = torch.cat([batch.valid_BSS for batch in batches]).flatten(1).mean(1) < 1
    assert 0 < cut.sum() < len(cut)
    masks = torch.cat([batch.mask_BKSS for batch in batches]).flatten(0, 1).numpy() > 0
    boxes = torch.cat([batch.box_BK4 for batch in batches]).flatten(0, 1).numpy()
    sides = np.abs(np.stack([full._tight_box(mask) for mask in masks]) - boxes)
    assert 0.1 < (sides > 2).mean() < 0.6
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def drawn_batch(full: ModuleType) -> Any:
    """Two pictures, of which the second ends before its right side, with two rectangles each."""
    mask, valid = torch.zeros(2, 2, 256, 256), torch.ones(2, 256, 256)
    boxes = torch.tensor([[[16, 32, 96, 80], [120, 40, 128, 48]], [[64, 64, 192, 128], [8, 200, 100, 240]]])
    for picture in range(2):
        for row in range(2):
            left, top, right, bottom = boxes[picture, row].tolist()
            mask[picture, row, top:bottom, left:right] = 1
    valid[1, :, 200:] = 0
    return full.Batch(torch.zeros(2, 3, 256, 256), boxes.float(), mask, valid)


def losses(full: ModuleType, batch: Any, logit: torch.Tensor, said: float) -> tuple[float, float]:
    """Loss and mean IoU of a model that answers with these logits and says that their IoU is `said`."""

    def model(**_: Any) -> SimpleNamespace:
        return SimpleNamespace(pred_masks=logit, iou_scores=torch.full(logit.shape[:3], said))

    loss, iou = full.losses(model, batch, several=True)
    return float(loss), float(iou)


def perfect(batch: Any) -> torch.Tensor:
    """Logits [B, K, 3, 64, 64] that are right everywhere."""
    share = torch.nn.functional.adaptive_avg_pool2d(batch.mask_BKSS, (64, 64))
    return torch.logit(share, 1e-6)[:, :, None].expand(-1, -1, 3, -1, -1)


def test_a_perfect_prediction_costs_nothing(full: ModuleType) -> None:
    batch = drawn_batch(full)
    loss, iou = losses(full, batch, perfect(batch), said=1.0)
    assert 0 <= loss < 0.01
    assert iou == 1
    assert losses(full, batch, perfect(batch), said=0.5)[0] == pytest.approx(0.25 * full.QUALITY_WEIGHT, abs=0.01)


def test_the_worse_the_prediction_the_more_it_costs(full: ModuleType) -> None:
    batch = drawn_batch(full)
    right = perfect(batch)
    worse = [right, torch.roll(right, 1, dims=-1), torch.roll(right, 4, dims=-1), torch.full_like(right, -6), -right]
    costs, overlaps = zip(*(losses(full, batch, logit, said=1.0) for logit in worse), strict=True)
    assert list(costs) == sorted(costs)
    assert list(overlaps) == sorted(overlaps, reverse=True)
    assert losses(full, batch, -right, said=1.0)[1] == 0


def test_small_things_count_too(full: ModuleType) -> None:
    """A missing thing of two cells costs nearly as much as a missing large one."""
    batch = drawn_batch(full)
    right, without = perfect(batch), []
    for row in range(2):
        logit = right.clone()
        logit[0, row] = -6
        without.append(losses(full, batch, logit, said=1.0)[0])
    assert without[1] > 0.5 * without[0]


def test_what_lies_beyond_the_picture_costs_nothing(full: ModuleType) -> None:
    batch = drawn_batch(full)
    painted = perfect(batch).clone()
    painted[1, ..., 50:] = 20
    assert losses(full, batch, painted, said=1.0) == pytest.approx(losses(full, batch, perfect(batch), said=1.0))


@pytest.mark.parametrize("steps", [pytest.param(1, id="one step"), 100, 101, 2000])
def test_the_rate_rises_then_falls_and_is_never_negative(full: ModuleType, steps: int) -> None:
    rates = [full.rate(step, steps) for step in range(steps)]
    assert min(rates) > 0
    assert max(rates) <= full.PEAK_RATE
    if steps == 2000:
        assert rates.index(max(rates)) in (full.WARM_UP - 1, full.WARM_UP)
        assert rates[-1] < 0.01 * full.PEAK_RATE
        assert rates[full.WARM_UP :] == sorted(rates[full.WARM_UP :], reverse=True)


def test_positions_vary_slowly_and_are_the_same_for_picture_and_box(full: ModuleType) -> None:
    torch.manual_seed(0)
    model = full.fresh_model()
    positions = model.shared_image_embedding.positional_embedding
    assert 0.7 < positions.std() < 1.3
    assert positions is model.prompt_encoder.shared_embedding.positional_embedding  # trained as one, saved as one
