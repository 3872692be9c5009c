"""Denoising queries: how many, how noisy, whom they see, and that each picture's depend on it alone."""

import pytest
import torch

from groundling.configuration.presets import tiny
from groundling.objective.criterion import Criterion
from groundling.objective.denoising import Denoising, DenoisingQueries, denoising_queries
from groundling.objective.targets import Targets, stack_targets
from groundling.ops.boxes import cxcywh_to_xyxy
from groundling.structures.features import Prediction

TOKENS = 7


def random_targets(counts: list[int], seed: int = 0, phrases: int = 3) -> Targets:
    torch.manual_seed(seed)
    boxes = [torch.cat([torch.rand(n, 2) * 0.4 + 0.3, torch.rand(n, 2) * 0.3 + 0.05], dim=1) for n in counts]
    means = [torch.eye(phrases, dtype=torch.bool)[torch.randint(phrases, (n,))] for n in counts]
    tokens = torch.zeros(phrases, TOKENS)
    for phrase in range(phrases):
        tokens[phrase, 2 * phrase + 1] = 1.0
    return stack_targets(boxes, means, [tokens] * len(counts))


def make(targets: Targets, settings: Denoising, seeds: list[int] | None = None) -> DenoisingQueries:
    text = torch.arange(TOKENS, dtype=torch.float32)[None, :, None].expand(len(targets.valid_BG), -1, 4)
    return denoising_queries(targets, text, settings, seeds or list(range(len(targets.valid_BG))))


@pytest.mark.parametrize(
    ("count", "budget", "queries", "groups"),
    [
        pytest.param(0, 20, 0, 0, id="empty"),
        pytest.param(1, 20, 20, 10, id="one object"),
        pytest.param(3, 20, 18, 3, id="whole groups only"),
        pytest.param(10, 20, 20, 1, id="just fits"),
        pytest.param(50, 20, 20, 1, id="too many objects"),
    ],
)
def test_the_budget_is_never_passed(count: int, budget: int, queries: int, groups: int) -> None:
    found = make(random_targets([count]), Denoising(budget=budget))
    assert found.group_BN.shape == (1, queries)
    assert len(found.group_BN.unique()) == groups
    assert len(found.matches.query_N) == queries // 2
    torch.testing.assert_close(found.weight_BN.sum(), torch.tensor(queries / max(groups, 1)))


def test_positives_stay_near_and_negatives_do_not() -> None:
    targets = random_targets([4])
    found = make(targets, Denoising(budget=400, box_noise=1.0, label_noise=0.0))
    positive = torch.zeros_like(found.group_BN[0], dtype=torch.bool)
    positive[found.matches.query_N] = True
    object_N = torch.empty_like(found.group_BN[0])
    object_N[found.matches.query_N] = found.matches.object_N
    object_N[~positive] = found.matches.object_N  # a group lists its objects twice in the same order
    clean = targets.box_BG4[0, object_N]
    shift = (cxcywh_to_xyxy(found.queries.box_BQ4[0]) - cxcywh_to_xyxy(clean)).abs() / clean[:, 2:].repeat(1, 2)
    assert float(shift[positive].max()) <= 0.5 + 1e-5
    assert float(shift[positive].mean()) == pytest.approx(0.25, abs=0.03)
    assert float(shift[~positive].max()) > 0.9
    assert found.queries.box_BQ4.min() >= 0
    assert found.queries.box_BQ4.max() <= 1


def test_the_content_is_the_mean_of_a_phrase_that_means_the_object() -> None:
    targets = random_targets([5])
    found = make(targets, Denoising(budget=10, label_noise=0.0))
    token_of_object = targets.means_BGP[0].float().argmax(dim=1) * 2 + 1
    own = token_of_object[found.matches.object_N].float()
    assert found.queries.content_BQD[0, found.matches.query_N, 0].tolist() == own.tolist()


def test_label_noise_changes_about_a_half_of_its_share() -> None:
    targets = random_targets([5], phrases=3)
    found = make(targets, Denoising(budget=2000, label_noise=0.6))
    own = (targets.means_BGP[0].float().argmax(dim=1) * 2 + 1)[found.matches.object_N].float()
    changed = (found.queries.content_BQD[0, found.matches.query_N, 0] != own).float().mean()
    assert float(changed) == pytest.approx(0.3 * 2 / 3, abs=0.04)  # one in three draws the same phrase again


def test_a_batch_gives_what_its_pictures_give() -> None:
    targets, settings = random_targets([3, 0, 5]), Denoising(budget=20)
    together = make(targets, settings, [4, 5, 6])
    for picture in range(3):
        alone = make(Targets(*(part[picture : picture + 1] for part in targets)), settings, [4 + picture])
        count = alone.group_BN.shape[1]
        torch.testing.assert_close(together.queries.box_BQ4[picture, :count], alone.queries.box_BQ4[0])
        assert (together.group_BN[picture, count:] == -1).all()
        assert together.weight_BN[picture, count:].sum() == 0
    again = make(targets, settings, [4, 5, 7])
    assert torch.equal(again.queries.box_BQ4[0], together.queries.box_BQ4[0])
    assert not torch.equal(again.queries.box_BQ4[2], together.queries.box_BQ4[2])


def test_who_sees_whom() -> None:
    found = make(random_targets([2, 1]), Denoising(budget=8))
    visible = found.visible(3)[:, 0]
    assert visible.shape == (2, 11, 11)
    assert not visible[:, :3, 3:].any()  # the queries never see an answer
    assert visible[:, :, :3].all()
    groups = found.group_BN
    for picture in range(2):
        for a in range(8):
            for b in range(8):
                assert visible[picture, 3 + a, 3 + b] == (groups[picture, a] == groups[picture, b])


def test_the_loss_counts_a_picture_once_whatever_its_number_of_groups() -> None:
    """With exact predictions for each query the loss per object does not depend on the budget."""
    targets = random_targets([2])
    criterion, valid = Criterion(tiny()), torch.ones(1, TOKENS, dtype=torch.bool)
    losses = []
    for budget in (4, 40):
        found = make(targets, Denoising(budget=budget))
        count = found.group_BN.shape[1]
        prediction = Prediction(torch.zeros(1, count, TOKENS), torch.full((1, count, 4), 0.4))
        _, by_name = criterion({}, targets, valid, denoised={"_dn": prediction}, denoising=found)
        losses.append([by_name[name].item() for name in ("loss_ce_dn", "loss_bbox_dn", "loss_giou_dn")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_padding_of_the_denoising_queries_teaches_nothing() -> None:
    targets = random_targets([3, 0])
    found = make(targets, Denoising(budget=12))
    logits = torch.zeros(2, 12, TOKENS, requires_grad=True)
    prediction = Prediction(logits, torch.full((2, 12, 4), 0.4))
    valid = torch.ones(2, TOKENS, dtype=torch.bool)
    total, _ = Criterion(tiny())({}, targets, valid, denoised={"_dn": prediction}, denoising=found)
    total.backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1].abs().sum() == 0
