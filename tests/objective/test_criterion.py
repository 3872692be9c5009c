"""The objective against sums over pairs with plain numbers, and for mixed prompts against single images."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from groundling import DatasetError, GroundingDinoConfig
from groundling.configuration.presets import tiny
from groundling.objective.criterion import Criterion
from groundling.objective.losses import cardinality_error, contrastive_focal_loss
from groundling.objective.matcher import HungarianMatcher
from groundling.objective.positive_map import phrase_maps
from groundling.objective.targets import Targets, read_targets, stack_targets
from groundling.structures.features import Prediction
from reference import boxes as naive_boxes

PROMPTS = torch.tensor([[101, 7, 8, 1012, 9, 1012, 102], [101, 7, 1012, 8, 1012, 9, 102], [101, 7, 1012, 102, 0, 0, 0]])


def corners(box: list[float]) -> list[float]:
    cx, cy, w, h = box
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def naive_match(logits: Tensor, boxes: Tensor, targets: Targets, config: GroundingDinoConfig) -> list[int]:
    """The query of each object of the only picture, by trying all assignments."""
    positive, objects = targets.positive_BGT[0], targets.box_BG4[0]

    def cost(query: int, goal: int) -> float:
        tokens = [t for t, on in enumerate(positive[goal].tolist()) if on]
        total = 0.0
        for token in tokens:
            p = sigmoid(logits[query, token].item())
            total += 0.25 * (1 - p) ** 2 * -math.log(p + 1e-8) - 0.75 * p**2 * -math.log(1 - p + 1e-8)
        a, b = boxes[query].tolist(), objects[goal].tolist()
        distance = sum(abs(x - y) for x, y in zip(a, b, strict=True))
        overlap = naive_boxes.generalized_iou(corners(a), corners(b))
        return config.class_cost * total / len(tokens) + config.bbox_cost * distance - config.giou_cost * overlap

    goals = range(len(objects))
    choices = itertools.permutations(range(len(boxes)), len(goals))
    return list(min(choices, key=lambda queries: sum(cost(q, g) for q, g in zip(queries, goals, strict=True))))


def random_prediction(batch: int, queries: int, seed: int) -> Prediction:
    torch.manual_seed(seed)
    boxes = torch.cat([torch.rand(batch, queries, 2), torch.rand(batch, queries, 2) * 0.5 + 0.05], dim=-1)
    return Prediction(torch.randn(batch, queries, PROMPTS.shape[1], dtype=torch.float64), boxes.double())


@pytest.mark.parametrize("seed", range(5))
def test_the_matcher_finds_the_cheapest_assignment(seed: int) -> None:
    config = tiny()
    prediction = random_prediction(1, 5, seed)
    labels = [{"class_labels": torch.tensor([0, 1, 0]), "boxes": torch.rand(3, 4) * 0.4 + 0.1}]
    targets = read_targets(labels, phrase_maps(PROMPTS[:1]))
    matcher = HungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
    _, query, goal = matcher(prediction, targets)
    found = [query[goal == g].item() for g in range(3)]
    assert found == naive_match(prediction.logit_BQT[0], prediction.box_BQ4[0], targets, config)


def test_a_batch_is_matched_as_its_pictures_are() -> None:
    matcher = HungarianMatcher(2.0, 5.0, 2.0)
    prediction = random_prediction(3, 6, 7)
    labels = [
        {"class_labels": torch.tensor(c), "boxes": torch.rand(len(c), 4) * 0.4 + 0.1} for c in ([1, 0, 1], [], [0])
    ]
    together = matcher(prediction, read_targets(labels, phrase_maps(PROMPTS)))
    for picture in range(3):
        single = Prediction(*(part[picture : picture + 1] for part in prediction))
        alone = matcher(
            single, read_targets(labels[picture : picture + 1], phrase_maps(PROMPTS[picture : picture + 1]))
        )
        own = together.image_N == picture
        assert together.query_N[own].tolist() == alone.query_N.tolist()
        assert together.object_N[own].tolist() == alone.object_N.tolist()


def test_the_focal_loss_is_the_sum_over_all_pairs() -> None:
    torch.manual_seed(0)
    logits, positive = torch.randn(3, 4, dtype=torch.float64), (torch.rand(3, 4) > 0.6).double()
    valid = torch.tensor([True, True, False, True])
    expected = 0.0
    for q, t in itertools.product(range(3), range(4)):
        if valid[t]:
            p = sigmoid(logits[q, t].item())
            y = positive[q, t].item()
            right = p if y else 1 - p
            expected += (0.25 if y else 0.75) * (1 - right) ** 2 * -math.log(right)
    logits[:, 2] = -math.inf  # padding may hold anything
    assert contrastive_focal_loss(logits, positive, valid.double(), 0.25).item() == pytest.approx(expected)


def test_mixed_prompts_equal_the_single_images() -> None:
    criterion = Criterion(tiny())
    prediction = random_prediction(3, 6, 1)
    prediction = Prediction(prediction.logit_BQT.float(), prediction.box_BQ4.float())
    torch.manual_seed(2)
    classes = [[1, 0, 1], [2], [0, 0]]
    labels = [{"class_labels": torch.tensor(c), "boxes": torch.rand(len(c), 4) * 0.4 + 0.1} for c in classes]
    valid = PROMPTS > 0
    total, losses = criterion({"": prediction}, read_targets(labels, phrase_maps(PROMPTS)), valid)
    singles = [
        criterion(
            {"": Prediction(*(part[i : i + 1] for part in prediction))},
            read_targets(labels[i : i + 1], phrase_maps(PROMPTS[i : i + 1])),
            valid[i : i + 1],
        )
        for i in range(3)
    ]
    counts = [len(c) for c in classes]
    for name in ("loss_ce", "loss_bbox", "loss_giou"):
        by_hand = sum(single[1][name] * count for single, count in zip(singles, counts, strict=True)) / sum(counts)
        torch.testing.assert_close(losses[name], by_hand, rtol=1e-5, atol=1e-6, msg=name)
    torch.testing.assert_close(losses["cardinality_error"], sum(s[1]["cardinality_error"] for s in singles) / 3)
    weighted = 2.0 * losses["loss_ce"] + 5.0 * losses["loss_bbox"] + 2.0 * losses["loss_giou"]
    torch.testing.assert_close(total, weighted)


def test_pictures_without_objects_still_teach_what_is_absent() -> None:
    prediction = random_prediction(3, 6, 3)
    prediction = Prediction(prediction.logit_BQT.float().requires_grad_(), prediction.box_BQ4.float().requires_grad_())
    nothing = {"class_labels": torch.zeros(0, dtype=torch.long), "boxes": torch.zeros(0, 4)}
    total, losses = Criterion(tiny())({"": prediction}, read_targets([nothing] * 3, phrase_maps(PROMPTS)), PROMPTS > 0)
    assert losses["loss_ce"] > 0
    assert losses["loss_bbox"] == losses["loss_giou"] == 0
    total.backward()
    assert prediction.logit_BQT.grad is not None
    assert prediction.logit_BQT.grad.isfinite().all()


def test_more_objects_than_queries_match_as_many_as_there_are_queries() -> None:
    prediction = random_prediction(1, 2, 4)
    prediction = Prediction(prediction.logit_BQT.float(), prediction.box_BQ4.float())
    labels = [{"class_labels": torch.tensor([0, 1, 0]), "boxes": torch.rand(3, 4) * 0.4 + 0.1}]
    total, _ = Criterion(tiny())({"": prediction}, read_targets(labels, phrase_maps(PROMPTS[:1])), PROMPTS[:1] > 0)
    assert total.isfinite()


def test_cardinality() -> None:
    logits = torch.tensor([[[2.0, -1.0], [-3.0, 0.5]], [[-1.0, -1.0], [-1.0, -1.0]]])
    assert cardinality_error(logits, torch.tensor([1, 3])).item() == pytest.approx((1 + 3) / 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param([], "labels has 0 entries for 1 pictures", id="empty"),
        pytest.param({"boxes": torch.zeros(0, 4)}, "labels is one dict. Give a list", id="one dict"),
        pytest.param(
            [{"class_labels": torch.tensor([0]), "boxes": torch.tensor([[300.0, 200.0, 50.0, 60.0]])}],
            "reach 300.* divide pixels",
            id="pixels",
        ),
        pytest.param([{}], r"labels\[0\] lacks class_labels and boxes", id="no keys"),
        pytest.param(
            [{"class_labels": torch.tensor([0]), "boxes": torch.zeros(2, 4)}],
            "1 class_labels, but 2 boxes",
            id="counts",
        ),
        pytest.param(
            [{"class_labels": torch.tensor([17]), "boxes": torch.zeros(1, 4)}],
            "2 phrases.*not category ids",
            id="category ids",
        ),
        pytest.param(
            [{"class_labels": torch.tensor([-1]), "boxes": torch.zeros(1, 4)}], "from -1 to -1", id="negative"
        ),
        pytest.param(
            [{"class_labels": torch.tensor([0]), "boxes": torch.tensor([[0.5, 0.5, -0.1, 0.1]])}],
            "negative sizes",
            id="inverted",
        ),
        pytest.param([{"class_labels": torch.tensor([0]), "boxes": torch.full((1, 4), math.nan)}], "NaN", id="nan"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: list[dict[str, Tensor]], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_targets(labels, phrase_maps(PROMPTS[:1]))


def test_queries_that_are_not_a_number_are_not_matched() -> None:
    config = tiny()
    matcher = HungarianMatcher(config.class_cost, config.bbox_cost, config.giou_cost)
    targets = stack_targets(
        [torch.tensor([[0.5, 0.5, 0.2, 0.2]])], [torch.tensor([[True]])], [torch.tensor([[0.0, 1.0]])]
    )
    logits, boxes = torch.zeros(3, 2), torch.full((3, 4), 0.3)
    logits[0] = math.nan
    boxes[2] = math.nan
    _, query, goal = matcher(Prediction(logits[None], boxes[None]), targets)
    assert (query.tolist(), goal.tolist()) == ([1], [0])
