"""DCC: its network, every loss term against a slow direct reading, its stages and its presets."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.config import ProposalSettings
from models.errors import Cancelled, ContractViolation
from models.heads import dcc
from models.heads.base import HeadSpec, Moment
from models.heads.clustering import LLOYD_STEPS, cluster_snippets, voting_confidence
from models.heads.dcc import CONTRAST_STAGE, DccHead, pseudo_labels
from models.heads.dcc_network import DccSettings, TrunkOutput, logits_of_product
from models.heads.region_bank import num_regions
from models.heads.registry import HEADS, PRESETS
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedWorld
from models.training.run import RunOptions
from models.training.tags import TaggedDataset
from models.training.train import train_head

SPEC = HeadSpec(("a", "b", "c"), ("rgb", "flow"), 6)
DEFAULT = DccSettings(
    width=8, foreground_width=5, projection_width=7, dropout=0.0, clusters=3, regions=3
)
BASNET = replace(DEFAULT, suppress="input", foreground_slope=0.01, contrast=False)
SIGMOID = replace(DEFAULT, video_loss="sigmoid_bce", scaling="probability")
STPN = replace(DEFAULT, trunk="stpn")
VARIANTS = [
    DEFAULT,
    SIGMOID,
    STPN,
    replace(DEFAULT, suppress="input", loc="base", sparsity="mean", sparsity_weight=1e-5),
    replace(DEFAULT, contrast_scope="batch", cluster_space="teacher"),
    replace(DEFAULT, contrast_scope="video", regions=1),
]
LENGTHS = (26, 21, 2, 7)
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
MASK = torch.arange(26)[None] < torch.tensor(LENGTHS)[:, None]
BASE = Moment("base", 1, 100, 0, 10, torch.tensor([4, 2, 0, 5]))
CONTRAST = replace(BASE, stage=CONTRAST_STAGE)


@pytest.fixture(autouse=True)
def _one_thread():
    """Tensors are tiny here, and only one thread promises the same weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Videos:
    """A training set of labels alone: DCC asks for nothing else."""

    labels = torch.tensor(
        [[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0]], dtype=torch.float32
    )

    def features(self, video):
        raise AssertionError(video)


def features_of(seed=0):
    return 2 * torch.randn(4, 26, SPEC.feature_width, generator=torch.Generator().manual_seed(seed))


def scene(settings, stage=CONTRAST_STAGE):
    """A head at the start of a stage and its answer to a batch of four videos."""
    torch.manual_seed(0)
    head = DccHead(SPEC, settings)
    head.start_stage(stage, Videos())
    head.train()
    return head, head(features_of(), MASK)


def filled(head):
    """Fill the bank with the regions of another batch, as if all videos had been seen."""
    for first, videos in enumerate([[3, 1, 0, 5], [4, 2, 0, 5]]):
        moment = replace(CONTRAST, videos=torch.tensor(videos))
        output = head(features_of(first + 1), MASK)
        head.loss(output, LABELS, moment)
        head.after_batch(output, LABELS, moment)
    return head


def trunk_of(output):
    names = ("base", "suppressed", "video_base", "video_suppressed")
    return TrunkOutput(
        output.evidence["embedding"], output.attention, *(output.evidence[one] for one in names)
    )


# The network


def direct_embedding(network, sequence):
    for layer in network.embedding:
        conv = layer.conv
        sequence = functional.conv1d(sequence.T[None], conv.weight, conv.bias, padding=1)[0].T
        sequence = torch.where(sequence > 0, sequence, 0.01 * sequence)
    return sequence


def direct_foreground(network, sequence, slope):
    first, second = network.foreground.first.conv, network.foreground.second.conv
    hidden = sequence @ first.weight[..., 0].T + first.bias
    hidden = torch.where(hidden > 0, hidden, slope * hidden)
    return (hidden @ second.weight[..., 0].T + second.bias).sigmoid()


@pytest.mark.parametrize("settings", [DEFAULT, BASNET])
def test_the_trunk_of_basnet_is_read_directly(settings):
    head, output = scene(settings)
    weight = head.network.classifier.conv.weight[..., 0]
    for row, length in enumerate(LENGTHS):
        x = features_of()[row, :length]
        q = direct_foreground(head.network, x, settings.foreground_slope)
        base = direct_embedding(head.network, x) @ weight.T
        if settings.suppress == "logits":
            suppressed = q * base
        else:
            suppressed = direct_embedding(head.network, q * x) @ weight.T
        k = max(1, length // 8)
        video = suppressed.sort(dim=0, descending=True).values[:k].mean(dim=0)
        torch.testing.assert_close(output.attention[row, :length], q[:, 0])
        torch.testing.assert_close(output.class_logits[row, :length], base[:, :3])
        torch.testing.assert_close(output.video_scores[row], video.softmax(dim=0)[:3])
        low, high = (
            f(suppressed[:, :3], dim=0).values.clamp(min=0) for f in (torch.min, torch.max)
        )
        for c in range(3):
            expected = torch.zeros(length)
            if high[c] > low[c]:
                expected = ((suppressed[:, c] - low[c]) / (high[c] - low[c])).clamp(min=0)
            torch.testing.assert_close(output.localization[row, :length, c], expected)


def test_the_trunk_of_stpn_is_read_directly():
    head, output = scene(STPN)
    conv = head.network.classifier.conv
    assert len(head.network.embedding) == 1
    for row, length in enumerate(LENGTHS):
        x = features_of()[row, :length]
        q, z = direct_foreground(head.network, x, 0.0), direct_embedding(head.network, x)
        pooled = (q * z).mean(dim=0)
        video = conv.weight[..., 0] @ pooled + conv.bias
        weighted = q * (z @ conv.weight[..., 0].T + conv.bias).sigmoid()
        torch.testing.assert_close(output.video_scores[row], video.sigmoid())
        torch.testing.assert_close(output.localization[row, :length], weighted)


def test_options_of_localization_do_what_they_say():
    for settings in (DEFAULT, SIGMOID):
        for loc in ("supp", "base"):
            _, output = scene(replace(settings, scaling="probability", loc=loc))
            base = output.evidence["base"]
            soft = settings.video_loss == "softmax_bce"
            expected = (base.softmax(dim=2) if soft else base.sigmoid())[..., :3]
            if loc == "supp":
                expected = expected * output.attention[..., None]
            torch.testing.assert_close(output.localization[MASK], expected[MASK])
    _, base = scene(replace(DEFAULT, loc="base"))
    _, supp = scene(DEFAULT)
    assert not torch.allclose(base.localization, supp.localization)
    assert torch.equal(base.class_logits, supp.class_logits)


def test_logits_of_a_product_of_sigmoids():
    one, other = 3 * torch.randn(5, 1).double(), 3 * torch.randn(5, 4).double()
    expected = torch.logit(one.sigmoid() * other.sigmoid())
    torch.testing.assert_close(logits_of_product(one, other), expected)
    assert torch.isfinite(logits_of_product(torch.tensor(-300.0), torch.tensor(300.0)))


def test_the_published_size():
    spec = HeadSpec(tuple(f"c{i}" for i in range(20)), ("rgb", "flow"), 1024)
    state = DccHead(spec, DccSettings()).trained_state()
    assert len(state) == 9
    assert sum(value.numel() for value in state.values()) == 26_262_529


# Clustering and voting


def direct_clusters(points, num_clusters, seed):
    """k-means of float64[T, E] with the same draws, in numpy."""
    draws = torch.rand(num_clusters, generator=torch.Generator().manual_seed(seed)).numpy()
    centres, nearest = [], np.ones(len(points))
    for draw in draws:
        chances = nearest if nearest.sum() > 0 else np.ones(len(points))
        upto = np.cumsum(chances)
        centres.append(points[int(np.searchsorted(upto, draw * upto[-1], side="right"))])
        nearest = np.min([((points - one) ** 2).sum(axis=1) for one in centres], axis=0)
    for _ in range(LLOYD_STEPS):
        found = np.argmin([((points - one) ** 2).sum(axis=1) for one in centres], axis=0)
        centres = [
            points[found == place].mean(axis=0) if (found == place).any() else centre
            for place, centre in enumerate(centres)
        ]
    return np.argmin([((points - one) ** 2).sum(axis=1) for one in centres], axis=0)


def test_clusters_agree_with_numpy_and_padding_and_neighbours_change_nothing():
    points, seeds = torch.randn(4, 26, 5), torch.tensor([3, 1, 4, 1])
    got = cluster_snippets(points, MASK, 3, seeds)
    loud = points.masked_fill(~MASK[..., None], 1e3)
    assert torch.equal(cluster_snippets(loud, MASK, 3, seeds)[MASK], got[MASK])
    for row, length in enumerate(LENGTHS):
        expected = direct_clusters(points[row, :length].double().numpy(), 3, int(seeds[row]))
        assert got[row, :length].tolist() == expected.tolist()
    assert torch.equal(cluster_snippets(points[1:2], MASK[1:2], 3, seeds[1:2])[0], got[1])


def test_distant_groups_become_clusters_whatever_the_seed():
    groups = torch.arange(30) % 3
    points = (100 * torch.eye(3)[groups] + torch.randn(30, 3))[None]
    mask = torch.ones(1, 30, dtype=torch.bool)
    for seed in range(20):
        got = cluster_snippets(points, mask, 3, torch.tensor([seed]))[0]
        same = got[:, None] == got[None]
        assert torch.equal(same, groups[:, None] == groups[None])


def test_equal_snippets_and_fewer_snippets_than_clusters_are_clustered():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    got = cluster_snippets(torch.ones(2, 3, 4), mask, 5, torch.tensor([0, 1]))
    assert got[0, 0] == got[0, 1]


def test_votes_are_the_share_of_the_cluster_by_hand():
    clusters = torch.tensor([[0, 0, 0, 1, 1, 0]])
    labels = torch.tensor([[1, 1, 0, 0, 0, 1]]).bool()[..., None]
    mask = torch.tensor([[1, 1, 1, 1, 1, 0]]).bool()
    got = voting_confidence(labels, clusters, mask, 2)[0, :, 0]
    torch.testing.assert_close(got, torch.tensor([2 / 3, 2 / 3, 1 / 3, 1, 1, 0]))


# The base loss


def direct_bce(p, target):
    p = p.detach().double().clamp(1e-7, 1 - 1e-7)
    return float(-(target * p.log() + (1 - target) * (1 - p).log()).mean())


@pytest.mark.parametrize("settings", VARIANTS)
def test_the_base_loss_agrees_with_a_direct_reading(settings):
    head, output = scene(settings, "base")
    total, parts = head.loss(output, LABELS, BASE)
    evidence = output.evidence
    if settings.trunk == "stpn":
        expected = direct_bce(evidence["video_base"].sigmoid(), LABELS)
    elif settings.video_loss == "softmax_bce":
        expected = 0.0
        for name, background in (("video_base", 1.0), ("video_suppressed", 0.0)):
            wanted = torch.cat([LABELS, torch.full((4, 1), background)], dim=1)
            wanted = wanted / wanted.sum(dim=1, keepdim=True).clamp(min=1)
            expected += direct_bce(evidence[name].softmax(dim=1), wanted)
    else:
        expected = 0.0
        for name, background in (("base", 1.0), ("suppressed", 0.0)):
            wanted = torch.cat([LABELS, torch.full((4, 1), background)], dim=1).bool()
            present = evidence[f"video_{name}"][wanted]
            absent = [evidence[name][r, : LENGTHS[r]][:, ~wanted[r]].flatten() for r in range(4)]
            expected += (-present.sigmoid().log().mean()).item()
            expected += (-(1 - torch.cat(absent).sigmoid()).log().mean()).item()
    assert parts["video"].item() == pytest.approx(expected, rel=1e-4)
    rows = [output.attention[row, :length] for row, length in enumerate(LENGTHS)]
    sums = [row.sum() if settings.sparsity == "sum" else row.mean() for row in rows]
    torch.testing.assert_close(parts["sparsity"], torch.stack(sums).mean())
    torch.testing.assert_close(total, parts["video"] + settings.sparsity_weight * parts["sparsity"])
    assert set(parts) == {"video", "sparsity"}


def test_published_sparsity_weights_differ_by_ten_times_the_length():
    head, output = scene(DEFAULT, "base")
    other = DccHead(SPEC, replace(DEFAULT, sparsity="mean", sparsity_weight=1e-5))
    one_length = replace(output, mask=torch.ones_like(MASK))
    weighted = [
        one.settings.sparsity_weight * one.loss(one_length, LABELS, BASE)[1]["sparsity"].item()
        for one in (head, other)
    ]
    assert weighted[0] / weighted[1] == pytest.approx(10 * 26, rel=1e-4)


# Pseudo labels to regions to contrast, by loops


def direct_pseudo_labels(head, row, c):
    """One bool per real snippet of a row."""
    taught = head.teacher(features_of(), MASK)
    logits, foreground = taught.base[row, : LENGTHS[row]], taught.foreground[row, : LENGTHS[row]]
    if head.settings.trunk == "stpn":
        scores = logits[:, c].sigmoid() * foreground
    elif head.settings.video_loss == "softmax_bce":
        scores = logits.softmax(dim=1)[:, c]
    else:
        scores = logits[:, c].sigmoid()
    return (scores >= scores.mean()).tolist()


def direct_region(projected, pseudo, clusters, inside, kind):
    """The denoised mean over some snippets, of unit length; None without any of that kind."""
    total, count = torch.zeros(projected.shape[1]), 0
    for t in inside:
        if pseudo[t] == (kind == 0):
            mates = [k for k in range(len(pseudo)) if clusters[k] == clusters[t]]
            share = sum(pseudo[k] == pseudo[t] for k in mates) / len(mates)
            total, count = total + share * projected[t], count + 1
    return total / total.norm() if count else None


def direct_regions(head, output, clusters):
    """(row, class, kind, region, unit vector) with kind 0 for action."""
    parts = head.settings.regions
    projected = head.projection(output.evidence["embedding"].detach()).detach()
    found = []
    for row, length in enumerate(LENGTHS):
        members = [list(range(length))]
        if parts > 1:
            members += [
                [t for t in range(length) if t * parts // length == m] for m in range(parts)
            ]
        for c in LABELS[row].nonzero()[:, 0].tolist():
            pseudo = direct_pseudo_labels(head, row, c)
            for kind in (0, 1):
                for region, inside in enumerate(members):
                    seen = projected[row], pseudo, clusters[row].tolist(), inside, kind
                    vector = direct_region(*seen)
                    if vector is not None:
                        found.append((row, c, kind, region, vector))
    return found


def direct_contrast(fresh, stored, scope, temperature):
    """Losses of the anchors of (video, class, kind, vector) regions, fresh and stored."""
    losses = []
    for anchor in fresh:
        video, c, kind, vector = anchor
        others = [
            one for one in fresh if one is not anchor and (one[0] == video or scope == "batch")
        ]
        others += [one for one in stored if one[0] != video]
        above = below = 0.0
        for v, other, k, candidate in others:
            share = math.exp((vector @ candidate).item() / temperature)
            if k == 0 and other == c:
                above += share
            elif v != video or (k == 1 and other == c):
                below += share
        if kind == 0 and above:
            losses.append(-math.log(above / (above + below)))
    return losses


def clusters_of(head, output, monkeypatch):
    """Return what the loss clusters, and into which clusters."""
    seen = []

    def watched(sequence, *rest):
        seen.append((sequence, cluster_snippets(sequence, *rest)))
        return seen[-1][1]

    monkeypatch.setattr(dcc, "cluster_snippets", watched)
    head.loss(output, LABELS, CONTRAST)
    return seen[0]


@pytest.mark.parametrize("settings", VARIANTS)
def test_regions_and_contrast_agree_with_a_direct_reading(settings, monkeypatch):
    head, _ = scene(settings)
    filled(head)
    output = head(features_of(), MASK)
    space, clusters = clusters_of(head, output, monkeypatch)
    assert not space.requires_grad
    of_teacher = head.teacher(features_of(), MASK).embedding
    student = settings.cluster_space == "student"
    torch.testing.assert_close(space, output.evidence["embedding"] if student else of_teacher)

    expected = direct_regions(head, output, clusters)
    regions = head.batch_regions(output, LABELS, CONTRAST)
    assert int(regions.valid.sum()) == len(expected)
    for row, c, kind, region, vector in expected:
        place = (row, regions.classes[row].tolist().index(c), kind, region)
        assert regions.valid[place]
        torch.testing.assert_close(regions.vectors[place], vector, rtol=1e-3, atol=1e-5)

    stored = []
    if settings.contrast_scope == "bank":
        bank = head.bank
        for place in map(tuple, bank.valid.nonzero().tolist()):
            stored.append((place[0], int(bank.classes[place[:2]]), place[2], bank.vectors[place]))
        assert {one[0] for one in stored} == {0, 1, 2, 3, 4}
    fresh = [(int(CONTRAST.videos[row]), c, kind, v) for row, c, kind, _, v in expected]
    losses = direct_contrast(fresh, stored, settings.contrast_scope, settings.temperature)
    _, parts = head.loss(output, LABELS, CONTRAST)
    mean = sum(losses) / max(1, len(losses))
    assert parts["contrast"].item() == pytest.approx(mean, rel=1e-3, abs=1e-5)
    assert losses or settings.regions == 1  # one region has no partner in its own video


def test_the_number_of_vectors_per_label_is_the_papers():
    counts = {parts: 2 * num_regions(parts) for parts in (1, 3, 5, 10)}
    assert counts == {1: 2, 3: 8, 5: 12, 10: 22}
    head, _ = scene(replace(DEFAULT, regions=5))
    assert tuple(head.bank.vectors.shape) == (6, 2, 2, 6, 7)


def test_pseudo_labels_take_the_mean_itself():
    probabilities = torch.tensor([[[0.2], [0.2], [0.2], [9.0]]])
    mask = torch.tensor([[True, True, True, False]])
    got = pseudo_labels(probabilities, torch.tensor([[0, -1]]), mask)
    assert got[0, :, 0].tolist() == [True, True, True, False]


@pytest.mark.parametrize("settings", VARIANTS)
def test_the_contrast_moves_only_embedding_and_projection(settings):
    head, output = scene(settings)
    _, parts = head.loss(output, LABELS, CONTRAST)
    if settings.regions == 1:  # one region has no partner in its own video
        assert parts["contrast"].item() == 0
        return
    parts["contrast"].backward()
    for name, parameter in head.named_parameters():
        moved = parameter.grad is not None and float(parameter.grad.abs().sum()) > 0
        assert moved == name.startswith(("network.embedding", "projection")), name


def test_the_weight_of_the_contrast_grows_geometrically():
    head, output = scene(DccSettings(width=4, projection_width=4, foreground_width=4))
    expected = {1: 0.1, 2_001: 0.1 * 1e5 ** (1 / 3), 3_001: 0.1 * 10**2.5, 6_000: 9_980.83}
    for step, beta in expected.items():
        moment = replace(CONTRAST, step=step, steps=6_000)
        assert head.beta(moment) == pytest.approx(beta, rel=1e-6)
        total, parts = head.loss(output, LABELS, moment)
        base = parts["video"] + 1e-4 * parts["sparsity"]
        torch.testing.assert_close(total, base + beta * parts["contrast"], rtol=1e-5, atol=1e-5)
    for end in (1.0, 100.0):
        other = DccHead(SPEC, replace(DEFAULT, beta_end=end))
        assert other.beta(replace(CONTRAST, step=6_000, steps=6_000)) == pytest.approx(
            end, rel=0.01
        )


# Stages, teacher, bank


def test_the_second_stage_freezes_a_teacher_and_begins_afresh():
    torch.manual_seed(0)
    head = DccHead(SPEC, replace(DEFAULT, dropout=0.7))
    head.start_stage("base", Videos())
    assert "teacher" not in dict(head.named_children())
    trained = {name: value.clone() for name, value in head.network.state_dict().items()}
    names = {name for name, _ in head.named_parameters() if name.startswith("network")}
    assert len(list(head.stage_parameters("base"))) == len(names)
    head.start_stage(CONTRAST_STAGE, Videos())
    head.train()
    assert head.teacher is not None
    for name, value in head.teacher.state_dict().items():
        assert torch.equal(value, trained[name])
    for name, value in head.network.state_dict().items():
        assert not torch.equal(value, trained[name]), name
    assert not any(parameter.requires_grad for parameter in head.teacher.parameters())
    assert not head.teacher.training
    assert head.network.training
    changed = set(map(id, head.stage_parameters(CONTRAST_STAGE)))
    assert changed == {id(one) for one in head.parameters() if one.requires_grad}
    answers = [head.teacher(features_of(), MASK).base for _ in range(2)]
    assert torch.equal(*answers)


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("stage", ["base", CONTRAST_STAGE])
def test_every_parameter_of_a_stage_learns_and_the_teacher_does_not(settings, stage):
    head, output = scene(replace(settings, regions=3), stage)
    total, _ = head.loss(output, LABELS, replace(BASE, stage=stage, step=90))
    total.backward()
    for parameter in head.stage_parameters(stage):
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0
    if head.teacher is not None:
        assert all(parameter.grad is None for parameter in head.teacher.parameters())


def test_the_bank_takes_the_newest_regions_of_the_batch_after_the_step():
    head, output = scene(DEFAULT)
    head.loss(output, LABELS, CONTRAST)
    assert not head.bank.valid.any()
    head.after_batch(output, LABELS, CONTRAST)
    regions = head.batch_regions(output, LABELS, CONTRAST)
    assert torch.equal(head.bank.vectors[4], regions.vectors[0].detach())
    assert head.bank.classes.tolist() == [[0, -1], [-1] * 2, [1, -1], [-1] * 2, [0, 2], [-1] * 2]
    assert head.bank.valid[[4, 2, 0]].any(dim=3).any(dim=2)[:, 0].all()
    assert not head.bank.valid[[1, 3, 5]].any()
    lengths = head.bank.vectors.norm(dim=-1)
    torch.testing.assert_close(lengths, head.bank.valid.float())
    newer = head(features_of(1), MASK)
    head.loss(newer, LABELS, CONTRAST)
    head.after_batch(newer, LABELS, CONTRAST)
    assert not torch.equal(head.bank.vectors[4], regions.vectors[0].detach())
    assert not head.bank.vectors.requires_grad


def test_what_only_training_needs_is_left_out_of_saved_models():
    head, _ = scene(DEFAULT)
    assert all(name.startswith("network.") for name in head.trained_state())
    fresh = DccHead(SPEC, DEFAULT)
    fresh.load_trained_state(head.trained_state())
    assert torch.equal(
        fresh(features_of(), MASK).class_logits, head(features_of(), MASK).class_logits
    )


def test_the_contrast_needs_its_stage_to_be_started():
    head = DccHead(SPEC, DEFAULT)
    with pytest.raises(ContractViolation, match="start_stage"):
        head.loss(head(features_of(), MASK), LABELS, CONTRAST)


def test_without_contrast_every_stage_trains_the_trunk():
    head, output = scene(BASNET)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    head.start_stage(CONTRAST_STAGE, Videos())
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    assert set(head.loss(output, LABELS, CONTRAST)[1]) == {"video", "sparsity"}
    assert HEADS["dcc"].plain == (("contrast", False),)


# Hard inputs


@pytest.mark.parametrize("settings", VARIANTS)
def test_the_loss_ignores_padding(settings):
    head, output = scene(settings)
    loud = features_of().masked_fill(~MASK[..., None], 1e3)
    total, _ = head.loss(output, LABELS, CONTRAST)
    again, _ = head.loss(head(loud, MASK), LABELS, CONTRAST)
    torch.testing.assert_close(total, again)


@pytest.mark.parametrize("settings", VARIANTS)
@pytest.mark.parametrize("length", [1, 2, 9])
def test_short_silent_and_untagged_videos_give_finite_losses(settings, length):
    torch.manual_seed(0)
    head = DccHead(SPEC, settings)
    head.start_stage(CONTRAST_STAGE, Videos())
    moment = replace(CONTRAST, step=100, videos=torch.tensor([0, 5]))
    for features in (torch.zeros(2, length, 12), torch.randn(2, length, 12)):
        for labels in (torch.zeros(2, 3), torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])):
            head.zero_grad(set_to_none=True)
            output = head(features)
            total, _ = head.loss(output, labels, moment)
            total.backward()
            assert torch.isfinite(total)
            grads = [one.grad for one in head.parameters() if one.grad is not None]
            assert all(torch.isfinite(one).all() for one in grads)


def test_an_untagged_video_asks_for_background_and_no_foreground():
    head, _ = scene(DEFAULT, "base")
    none = torch.zeros(1, 3)
    silent = torch.zeros(1, 4)
    sure = torch.tensor([[0.0, 0.0, 0.0, 9.0]])
    action = torch.tensor([[9.0, 0.0, 0.0, 0.0]])

    def loss(base, suppressed):
        seen = TrunkOutput(silent, silent, silent, silent, base, suppressed)
        return head.network.video_loss(seen, none, MASK[:1]).item()

    assert loss(sure, silent) < loss(action, silent)
    assert loss(sure, silent) < loss(sure, action)


# Training


RECIPE = FeatureRecipe(name="planted", stream_width=8)


def planted_dataset():
    world = PlantedWorld(PlantedSettings(num_classes=3, stream_width=8, max_snippets=90), 3)
    videos = world.videos(12)
    return TaggedDataset(
        tuple(f"v{i}" for i in range(12)),
        [one.features for one in videos],
        np.stack([one.labels for one in videos]),
        ("a", "b", "c"),
        RECIPE,
    )


def quick_preset():
    small = PRESETS["dcc"]["small"]
    assert isinstance(small.head, DccSettings)
    stages = tuple(replace(stage, steps=4, batch_size=4, num_snippets=24) for stage in small.stages)
    narrow = replace(small.head, width=8, foreground_width=4, projection_width=6)
    return replace(small, head=narrow, stages=stages)


@pytest.mark.parametrize("stop_at", [2, 4, 6])
def test_a_resumed_run_gives_the_same_weights(tmp_path, stop_at):
    dataset, preset = planted_dataset(), quick_preset()
    whole = train_head(dataset, "dcc", preset, seed=1).head.state_dict()
    again = train_head(dataset, "dcc", preset, seed=1).head.state_dict()
    steps = []

    def should_stop():
        steps.append(1)
        return len(steps) == stop_at

    options = RunOptions(folder=tmp_path, should_stop=should_stop)
    with pytest.raises(Cancelled):
        train_head(dataset, "dcc", preset, seed=1, run=options)
    resumed = train_head(
        dataset, "dcc", preset, seed=1, run=RunOptions(folder=tmp_path, resume=True)
    ).head.state_dict()
    assert set(whole) == set(resumed) == set(again)
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
        assert torch.equal(value, resumed[name]), name
    assert any(name.startswith("bank.") for name in whole)
    other = train_head(dataset, "dcc", preset, seed=2).head.state_dict()
    assert not torch.equal(
        whole["network.classifier.conv.weight"], other["network.classifier.conv.weight"]
    )


# Presets


def test_published_presets_are_complete():
    thumos, anet = PRESETS["dcc"]["thumos14"], PRESETS["dcc"]["activitynet1.3"]
    for preset, snippets, steps, parts in (
        (thumos, 750, (1_500, 6_000), 5),
        (anet, 50, (2_000, 20_000), 2),
    ):
        head = preset.head
        assert isinstance(head, DccSettings)
        assert (head.trunk, head.suppress, head.loc, head.scaling) == (
            "basnet",
            "logits",
            "supp",
            "min_max",
        )
        assert head.video_loss == "softmax_bce"
        assert (head.width, head.kernel, head.foreground_width, head.projection_width) == (
            2048,
            3,
            512,
            512,
        )
        assert (head.dropout, head.input_dropout, head.topk_divisor) == (0.7, 0.0, 8)
        assert (head.sparsity, head.sparsity_weight) == ("sum", 1e-4)
        assert (head.beta_start, head.beta_end, head.temperature) == (0.1, 1e4, 0.1)
        assert (head.clusters, head.regions) == (parts, parts)
        assert (head.contrast, head.contrast_scope, head.cluster_space) == (True, "bank", "student")
        assert tuple(stage.stage for stage in preset.stages) == ("base", "contrast")
        assert tuple(stage.steps for stage in preset.stages) == steps
        for stage in preset.stages:
            assert (stage.optimizer, stage.learning_rate) == ("adam", 1e-4)
            assert (stage.beta1, stage.beta2, stage.weight_decay) == (0.9, 0.999, 5e-4)
            assert (stage.batch_size, stage.accumulate) == (16, 1)
            assert (stage.sampling, stage.num_snippets) == ("perturb", snippets)
            assert not stage.standardize
        assert (preset.inference.sampling, preset.inference.num_snippets) == ("uniform", snippets)
        proposals = preset.proposals
        assert len(proposals.thresholds) == 37
        assert np.diff(proposals.thresholds) == pytest.approx(0.025)
        assert (proposals.thresholds[0], proposals.thresholds[-1]) == (0.0, 0.9)
        assert (proposals.class_threshold, proposals.allow_empty) == (0.2, False)
        assert (proposals.upsample, proposals.align) == (24, "start")
        oic, nms = proposals.oic, proposals.nms
        assert (oic.margin_ratio, oic.class_bonus, oic.min_length) == (0.25, 0.2, 2)
        assert oic.thresholded
        assert not oic.binary_bonus
        assert (nms.kind, nms.threshold, nms.plus_one) == ("hard", 0.6, True)


def test_the_small_preset_is_small():
    small = PRESETS["dcc"]["small"]
    assert isinstance(small.head, DccSettings)
    assert small.head.width <= 256
    assert sum(stage.steps for stage in small.stages) <= 400
    assert all(stage.num_snippets <= 128 for stage in small.stages)
    assert not small.proposals.nms.plus_one
    assert small.proposals.allow_empty
    assert small.proposals.align == "center" == ProposalSettings().align
