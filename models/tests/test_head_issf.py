"""ISSF: every equation against a slow direct reading, its memory, schedules, presets and runs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from models.config import NmsSettings, OicSettings, ProposalSettings
from models.errors import Cancelled
from models.heads.base import HeadSpec, Moment
from models.heads.class_memory import memory_share
from models.heads.issf import IssfHead, IssfSettings
from models.heads.registry import HEADS, PRESETS
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedWorld
from models.training.tags import TaggedDataset
from models.training.train import RunOptions, train_head

SPEC = HeadSpec(("a", "b", "c"), ("rgb", "flow"), 6)
LENGTHS = (30, 17, 23)
LABELS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
# A scale of 5 keeps every probability far from the clamp at which published code differs.
PLAIN = IssfSettings(width=8, dropout=0.0, scale=5.0)
VARIANTS = {
    "issf": PLAIN,
    "raw": replace(PLAIN, attention="raw", memory="direct", kd_weight_after=0.5),
    "sqrt": replace(PLAIN, attention="sqrt", kernel=3, memory="best", memory_target=0.3),
    "rskp": replace(PLAIN, refine="rskp", memory_target=0.2, kd_weight_after=0.5),
    "sigmoid": replace(PLAIN, video_loss="sigmoid_bce", slots=3),
}
WARM, LATE = 10, 150  # epochs of 180, before and after the memory is filled at 100


def moment(epoch=WARM, epochs=180):
    return Moment("main", epoch + 1, epochs, epoch, epochs, torch.arange(3))


class Videos:
    """A training set in memory."""

    def __init__(self, features, labels):
        self._features, self.labels = features, labels

    def features(self, video):
        return self._features[video]


def scene(settings, seed=0, lengths=LENGTHS):
    torch.manual_seed(seed)
    head = IssfHead(SPEC, settings)
    features = torch.randn(len(lengths), max(lengths), SPEC.feature_width).abs()
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return head, features, mask


def filled(settings, seed=0):
    """A head whose memory has been filled at the end of warm-up."""
    head, features, mask = scene(settings, seed)
    videos = Videos([features[row, :length] for row, length in enumerate(LENGTHS)], LABELS)
    head.start_epoch(moment(settings.warm_up_epochs(180)), videos)
    return head, features, mask


def cosines(one, other):
    return functional.cosine_similarity(one[..., :, None, :], other[..., None, :, :], dim=-1)


# ---- saliency and refinement, one video after the other -----------------------------------------


def direct_changes(embedding, kind):
    norms = {"l1": lambda v: v.abs().sum(), "l2": lambda v: (v * v).sum().sqrt()}
    found = []
    for t in range(1, len(embedding)):
        now, before = embedding[t], embedding[t - 1]
        if kind == "cosine":
            found.append(1 - (now @ before) / (now.norm() * before.norm()))
        else:
            found.append(norms[kind](now - before))
    return torch.stack([found[0], *found])


def direct_salient(embedding, settings):
    changes = direct_changes(embedding, settings.saliency).tolist()
    count = max(1, math.floor(settings.salient_share * len(changes) + 1e-9))
    order = sorted(range(len(changes)), key=lambda t: -changes[t])[:count]
    if settings.mark_previous:
        order += [t - 1 for t in order if t > 0]
    return sorted(set(order))


def direct_look(queries, keys, scaling):
    rows = []
    for query in queries:
        if scaling == "cos5":
            likeness = [5 * (query @ key) / (query.norm() * key.norm()) for key in keys]
        else:
            divisor = math.sqrt(len(query)) if scaling == "sqrt" else 1.0
            likeness = [query @ key / divisor for key in keys]
        weights = torch.softmax(torch.stack(likeness), 0)
        rows.append(sum(w * key for w, key in zip(weights, keys, strict=True)))
    return torch.stack(rows)


def direct_channel(unit, rows):
    first, second = unit.weigh.first.conv, unit.weigh.second.conv
    found = []
    for row in rows:
        hidden = torch.relu(first.weight[:, :, 0] @ row + first.bias)
        weights = torch.softmax(second.weight[:, :, 0] @ hidden + second.bias, 0)
        found.append(weights * row + row)
    return torch.stack(found)


def direct_refined(head, clean):
    """Equations 1 to 6, or RSKP's, of one video."""
    settings = head.settings
    if settings.refine == "rskp":
        prototypes = direct_prototypes(clean, head.prototypes, settings.em_iterations)
        return direct_walk(clean, prototypes, settings.propagation)
    salient = direct_salient(clean, settings)
    others = [t for t in range(len(clean)) if t not in salient]
    one = direct_look(
        clean, direct_channel(head.refinement.salient_unit, clean[salient]), settings.attention
    )
    two = direct_look(
        clean, direct_channel(head.refinement.other_unit, clean[others]), settings.attention
    )
    return settings.salient_weight * one + (1 - settings.salient_weight) * two


def direct_prototypes(embedding, start, iterations):
    prototypes = start
    for _ in range(iterations):
        shares = torch.softmax(5 * cosines(prototypes, embedding), dim=0)
        prototypes = torch.stack([row @ embedding / row.sum() for row in shares])
    return prototypes


def direct_walk(embedding, prototypes, w):
    """The closed form with the inverse of T rows."""
    z = torch.softmax(5 * cosines(prototypes, embedding), dim=0)
    normalized = z / z.sum(dim=1, keepdim=True)
    inverse = torch.linalg.inv(torch.eye(len(embedding)).to(z) - w * w * z.T @ normalized)
    return (1 - w) * inverse @ (w * z.T @ prototypes + embedding)


def direct_prediction(head, rows):
    """Logits [T, C + 1], attention [T] and both video logits [C + 1] of one video."""
    centres, front = head.predict.class_centres, head.predict.foreground_centre[0]
    scale = head.settings.scale
    logits = scale * cosines(rows, centres)
    attention = torch.sigmoid(scale * cosines(rows, front[None])[:, 0])
    pooled = (attention[:, None] * rows).sum(0) / attention.sum()
    agnostic = scale * cosines(pooled[None], centres)[0]
    classwise = []
    for c, centre in enumerate(centres):
        weights = torch.sigmoid(logits[:, c])
        own = (weights[:, None] * rows).sum(0) / weights.sum()
        classwise.append(scale * functional.cosine_similarity(own, centre, dim=0))
    return logits, attention, agnostic, torch.stack(classwise)


@pytest.mark.parametrize("kind", ["l1", "l2", "cosine"])
def test_changes_and_salient_snippets_agree_with_sorting(kind):
    for mark in (False, True):
        settings = replace(PLAIN, saliency=kind, mark_previous=mark)
        head, features, mask = scene(settings)
        got = head(features, mask).evidence
        for row, length in enumerate(LENGTHS):
            expected = direct_salient(got["clean"][row, :length], settings)
            assert torch.nonzero(got["salient"][row])[:, 0].tolist() == expected


def test_published_shares_of_salient_snippets_round_down():
    for share, length, expected in [(0.5, 241, 120), (0.9, 10, 9), (0.9, 75, 67), (0.5, 1, 1)]:
        head, features, mask = scene(replace(PLAIN, salient_share=share), lengths=(length,))
        assert head(features, mask).evidence["salient"].sum() == expected


def test_random_saliency_is_one_order_at_inference_and_fresh_in_training():
    head, features, mask = scene(replace(PLAIN, saliency="random"))
    first, second = (head(features, mask).evidence["salient"] for _ in range(2))
    assert not torch.equal(first, second)
    head.eval()
    fixed = head(features, mask).evidence["salient"]
    assert torch.equal(fixed, head(features, mask).evidence["salient"])
    alone = head(features[1:2, :17]).evidence["salient"]
    assert torch.equal(alone[0], fixed[1, :17])


@pytest.mark.parametrize("name", VARIANTS)
def test_forward_agrees_with_the_equations(name):
    head, features, mask = scene(VARIANTS[name])
    head.eval()
    output = head(features, mask)
    sigmoid = name == "sigmoid"
    for row, length in enumerate(LENGTHS):
        clean = output.evidence["clean"][row, :length]
        refined = direct_refined(head, clean)
        torch.testing.assert_close(output.evidence["refined"][row, :length], refined)
        base, other = direct_prediction(head, clean), direct_prediction(head, refined)
        squash = torch.sigmoid if sigmoid else (lambda v: torch.softmax(v, -1))
        both = 0.6 * squash(base[0]) + 0.4 * squash(other[0])
        expected = (both * base[1][:, None])[:, :3]
        torch.testing.assert_close(output.localization[row, :length], expected)
        video = 0.6 * squash(base[2]) + 0.4 * squash(other[2])
        torch.testing.assert_close(output.video_scores[row], video[:3])
        torch.testing.assert_close(output.class_logits[row, :length], base[0][:, :3])
        torch.testing.assert_close(output.attention[row, :length], base[1])


def test_the_closed_form_is_the_limit_of_alternation():
    torch.manual_seed(1)
    head = IssfHead(SPEC, replace(PLAIN, refine="rskp")).double()
    embedding = torch.randn(1, 40, 8, dtype=torch.float64).abs()
    mask = torch.ones(1, 40, dtype=torch.bool)
    found = head._refine(embedding, embedding, mask)
    m0, w = found["prototypes"][0], 0.5
    z = torch.softmax(5 * cosines(m0, embedding[0]), dim=0)
    normalized = z / z.sum(dim=1, keepdim=True)
    x, m = embedding[0], m0
    for _ in range(200):
        x = w * z.T @ m + (1 - w) * embedding[0]
        m = w * normalized @ x + (1 - w) * m0
    # 1e-9 in the published normalisation is the only difference left.
    torch.testing.assert_close(found["refined"][0], x, rtol=0, atol=1e-8)
    torch.testing.assert_close(direct_walk(embedding[0], m0, w), x, rtol=0, atol=1e-12)


# ---- losses -------------------------------------------------------------------------------------


def direct_ce(probabilities, label):
    label = label / label.sum() if label.sum() > 0 else label
    return -(label * probabilities.log()).sum()


def direct_kd(logits, target):
    total = 0.0
    for one, other in zip(logits, target, strict=True):
        wanted = torch.softmax(other / 0.2, 0)
        total = total - (wanted * torch.log_softmax(one / 0.2, 0)).sum()
    return total


def direct_margin(attention):
    ordered, count = attention.sort().values, max(1, len(attention) // 8)
    return ordered[:count].mean() - ordered[-count:].mean()


def direct_memory_branch(head, label, clean, refined):
    """The features rewritten from the memory of the video's classes."""
    keys = torch.cat([head.memory.features[c] for c in range(3) if label[c] > 0])
    if head.settings.refine == "rskp":
        return direct_walk(clean, keys, head.settings.propagation)
    return direct_look(refined, keys, head.settings.attention)


@pytest.mark.parametrize("epoch", [WARM, LATE])
@pytest.mark.parametrize("name", ["issf", "raw", "sqrt", "rskp"])
def test_every_loss_term_agrees_with_a_loop(name, epoch):
    settings = VARIANTS[name]
    head, features, mask = filled(settings)
    output = head(features, mask)
    total, parts = head.loss(output, LABELS, moment(epoch))
    expected = dict.fromkeys(("ca", "mil", "kd", "attention"), 0.0)
    for row, length in enumerate(LENGTHS):
        label = LABELS[row]
        clean = output.evidence["clean"][row, :length]
        refined = direct_refined(head, clean)
        branches = [(1.0, direct_prediction(head, clean)), (1.0, direct_prediction(head, refined))]
        target = branches[1][1][0]
        if epoch == LATE and label.sum() > 0:
            memory = direct_prediction(head, direct_memory_branch(head, label, clean, refined))
            branches.append((0.5, memory))
            share = settings.memory_target
            target = (1 - share) * target + share * memory[0]
        for weight, (_, _, agnostic, classwise) in branches:
            for part, logits, background in (("ca", agnostic, 0.0), ("mil", classwise, 1.0)):
                wanted = torch.cat([label, torch.tensor([background])])
                loss = direct_ce(torch.softmax(logits, 0), wanted)
                expected[part] = expected[part] + weight * loss / 3
        expected["kd"] = expected["kd"] + direct_kd(branches[0][1][0], target) / sum(LENGTHS)
        if label.sum() > 0:
            expected["attention"] = expected["attention"] + direct_margin(branches[0][1][1]) / 3
    for part, value in expected.items():
        torch.testing.assert_close(parts[part], value, rtol=1e-4, atol=1e-5, msg=part)
    kd_weight = settings.kd_weight_after if epoch == LATE else settings.kd_weight
    whole = expected["ca"] + 0.2 * expected["mil"] + 0.1 * expected["attention"]
    torch.testing.assert_close(total, whole + kd_weight * expected["kd"], rtol=1e-4, atol=1e-5)


def test_the_sigmoid_variant_counts_every_snippet_of_an_absent_class():
    head, features, mask = scene(replace(VARIANTS["sigmoid"], refine="none"))
    output = head(features, mask)
    parts = head.loss(output, LABELS, moment())[1]
    positive, negative = [], []
    for row, length in enumerate(LENGTHS):
        logits, _, agnostic, _ = direct_prediction(head, output.evidence["clean"][row, :length])
        for c in range(3):
            if LABELS[row, c] > 0:
                positive.append(functional.softplus(-agnostic[c]))
            else:
                negative += list(functional.softplus(logits[:, c]))
    expected = torch.stack(positive).mean() + torch.stack(negative).mean()
    torch.testing.assert_close(parts["ca"], expected)


def test_pseudo_labels_give_no_gradient():
    head, features, mask = filled(replace(PLAIN, refined_weight=0.0, memory_weight=0.0))
    total, parts = head.loss(head(features, mask), LABELS, moment(LATE))
    assert parts["kd"] > 0
    total.backward()
    for parameter in head.refinement.parameters():  # why the refined branches are classified too
        assert parameter.grad is None or not parameter.grad.any()


@pytest.mark.parametrize("epoch", [WARM, LATE])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_gets_a_finite_gradient(name, epoch):
    settings = replace(VARIANTS[name], dropout=0.6, input_dropout=0.2)
    head, features, mask = filled(settings)
    total, _ = head.loss(head(features, mask), LABELS, moment(epoch))
    total.backward()
    for parameter_name, parameter in head.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.any(), parameter_name
    assert all(not one.requires_grad for one in head.memory.buffers())


@pytest.mark.parametrize("name", VARIANTS)
def test_padding_changes_neither_losses_nor_memory(name):
    settings = VARIANTS[name]
    results = []
    for padding in (0, 9):
        head, features, _ = filled(settings)
        row = functional.pad(features[:1], (0, 0, 0, padding), value=1e3)
        mask = torch.arange(30 + padding)[None] < 30
        output = head(row, mask)
        total, _ = head.loss(output, LABELS[:1], moment(LATE))
        head.after_batch(output, LABELS[:1], moment(LATE))
        results.append((total, head.memory.features.clone()))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("epoch", [WARM, LATE])
def test_odd_batches_stay_finite(name, epoch):
    settings = VARIANTS[name]
    for features in (torch.zeros(2, 5, 12), torch.rand(2, 1, 12), 1e3 * torch.rand(2, 3, 12)):
        for labels in (torch.zeros(2, 3), torch.tensor([[1.0, 1, 1], [0, 0, 0]])):
            head, _, _ = filled(settings)
            output = head(features)
            total, parts = head.loss(output, labels, moment(epoch))
            total.backward()
            head.after_batch(output, labels, moment(epoch))
            assert torch.isfinite(total)
            assert all(
                torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None
            )
            assert torch.isfinite(head.memory.features).all()
            if not labels.any():  # teaches background alone
                assert parts["attention"] == 0
                assert parts["mil"] > 0


# ---- memory -------------------------------------------------------------------------------------


def test_memory_is_filled_once_at_the_end_of_warm_up_with_the_best_salient_snippets():
    head, features, _ = scene(PLAIN)
    videos = Videos([features[row, :length] for row, length in enumerate(LENGTHS)], LABELS)
    for epoch in (0, 99, 101):
        head.start_epoch(moment(epoch), videos)
        assert not head.memory.filled.any()
    head.start_epoch(moment(100), videos)
    assert head.training
    head.eval()
    for label, row in ((0, 0), (1, 1), (2, 0)):
        found = head(features[row : row + 1, : LENGTHS[row]]).evidence
        rows = found["clean"][0][found["salient"][0]]
        scores = torch.softmax(head.predict.classify(rows), -1)[:, label]
        best = scores.argsort(descending=True)[:5]
        torch.testing.assert_close(head.memory.features[label], rows[best])
        torch.testing.assert_close(head.memory.scores[label], scores[best])
    assert head.memory.filled.all()


def test_momentum_moves_each_rank_by_the_share_of_the_epoch():
    settings = replace(PLAIN, memory="momentum")
    head, features, mask = filled(settings)
    before = head.memory.features.clone()
    output = head(features, mask)
    head.after_batch(output, LABELS, moment(LATE))
    eta = 0.5 * math.log(math.exp(LATE / 180) + 1)
    rows = output.evidence["clean"][1][output.evidence["salient"][1]]
    scores = torch.softmax(head.predict.classify(rows), -1)[:, 1]
    new = rows[scores.argsort(descending=True)[:5]]
    torch.testing.assert_close(head.memory.features[1], (1 - eta) * before[1] + eta * new)
    head.after_batch(output, LABELS, moment(WARM))  # nothing happens in warm-up
    torch.testing.assert_close(head.memory.features[1], (1 - eta) * before[1] + eta * new)


def test_few_salient_snippets_repeat_and_direct_replaces():
    head, _, _ = filled(replace(PLAIN, memory="direct"))
    output = head(torch.rand(1, 4, 12))
    head.after_batch(output, torch.tensor([[0.0, 1.0, 0.0]]), moment(LATE))
    rows = output.evidence["clean"][0][output.evidence["salient"][0]]
    assert len(rows) == 2
    scores = torch.softmax(head.predict.classify(rows), -1)[:, 1]
    new = rows[scores.argsort(descending=True)]
    torch.testing.assert_close(head.memory.features[1], new[[0, 1, 0, 1, 0]])


def test_rskp_keeps_the_best_prototypes_for_ever():
    head, features, mask = filled(replace(PLAIN, refine="rskp"))
    old = list(zip(head.memory.scores[0].tolist(), head.memory.features[0].clone(), strict=True))
    output = head(features, mask)
    head.after_batch(output, LABELS, moment(LATE))
    found = output.evidence["prototypes"][0]
    scores = torch.softmax(head.predict.classify(found), -1)[:, 0]
    pool = old + list(zip(scores.tolist(), found, strict=True))
    best = sorted(pool, key=lambda one: -one[0])[:5]
    assert head.memory.scores[0].tolist() == pytest.approx([one[0] for one in best])
    torch.testing.assert_close(head.memory.features[0], torch.stack([one[1] for one in best]))


def test_a_class_without_videos_is_not_remembered():
    head, features, mask = scene(PLAIN)
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    head.start_epoch(moment(100), Videos([features[row] for row in range(3)], labels))
    assert head.memory.filled.any(dim=1).tolist() == [True, True, False]
    stored, members = head.memory.recall(torch.tensor([[0.0, 0, 1], [1, 0, 1]]))
    assert stored.shape == (1, 10, 8)
    assert members.sum(dim=1).tolist() == [0, 5]
    output = head(features, mask)
    only_new = torch.tensor([[0.0, 0, 1]] * 3)
    assert torch.isfinite(head.loss(output, only_new, moment(LATE))[0])
    head.after_batch(output, only_new, moment(LATE))
    assert head.memory.filled.all()


# ---- schedules, options, presets ----------------------------------------------------------------


def test_schedules_have_the_published_numbers():
    presets = PRESETS["issf"]
    assert presets["thumos14"].head.warm_up_epochs(180) == 100
    assert presets["activitynet1.3"].head.warm_up_epochs(100) == 50
    assert presets["thumos14-rskp"].head.warm_up_epochs(200) == 101
    assert presets["thumos14"].training.num_steps(200) == 180 * 20
    for progress, ratio in [(0, 0.693), (0.5, 0.974), (1, 1.313)]:
        assert memory_share(0.5, progress) == pytest.approx(0.5 * ratio, abs=5e-4)
    assert memory_share(0.9, 1) == 1.0


def test_parameter_count_of_the_published_rskp_network():
    spec = HeadSpec(tuple(f"class{index}" for index in range(20)), ("rgb", "flow"), 1024)
    head = IssfHead(spec, PRESETS["issf"]["thumos14-rskp"].head)
    shapes = {name: tuple(value.shape) for name, value in head.trained_state().items()}
    assert shapes == {
        "prototypes": (8, 2048),
        "predict.class_centres": (21, 2048),
        "predict.foreground_centre": (1, 2048),
        "embedding.conv.weight": (2048, 2048, 1),
        "embedding.conv.bias": (2048,),
    }
    assert sum(math.prod(shape) for shape in shapes.values()) == 4_257_792


def test_the_foreground_starts_opposite_the_background():
    head, _, _ = scene(PLAIN)
    assert torch.equal(head.predict.foreground_centre[0], -head.predict.class_centres[-1])
    assert not head.embedding.conv.bias.any()


def test_options_switch_what_they_say():
    head, features, mask = scene(replace(PLAIN, base_only=True))
    assert "refined" in head(features, mask).evidence  # in training it is needed
    head.eval()
    output = head(features, mask)
    assert "refined" not in output.evidence
    base = torch.softmax(output.evidence["base.logits"], -1)[..., :3]
    torch.testing.assert_close(output.localization, base * output.attention[..., None])
    plain = IssfHead(SPEC, replace(PLAIN, **dict(HEADS["issf"].plain)))
    names = {name.split(".")[0] for name in plain.state_dict()}
    assert names == {"embedding", "predict"}
    assert set(plain.loss(plain(features, mask), LABELS, moment())[1]) == {"ca", "mil", "attention"}
    without = IssfHead(SPEC, replace(PLAIN, memory="none"))
    without.start_epoch(moment(100), Videos([features[0]], LABELS[:1]))
    assert torch.isfinite(without.loss(without(features, mask), LABELS, moment(LATE))[0])
    mixed = IssfHead(SPEC, replace(PLAIN, scoring_attention=0.3))(features, mask)
    expected = 0.7 * mixed.localization + 0.3 * mixed.attention[..., None]
    torch.testing.assert_close(mixed.scoring, expected)
    assert IssfHead(SPEC, IssfSettings()).embedding.conv.out_channels == SPEC.feature_width
    assert not any(name.startswith("memory") for name in head.trained_state())


def test_presets_hold_the_published_values():
    thumos, anet = PRESETS["issf"]["thumos14"], PRESETS["issf"]["activitynet1.3"]
    table = {  # field: THUMOS14, ActivityNet 1.3
        "width": (0, 0),
        "kernel": (1, 1),
        "dropout": (0.6, 0.7),
        "input_dropout": (0.0, 0.0),
        "scale": (20.0, 10.0),
        "video_loss": ("softmax_ce", "softmax_ce"),
        "refine": ("issf", "issf"),
        "saliency": ("l1", "l1"),
        "salient_share": (0.5, 0.9),
        "mark_previous": (False, False),
        "reduction": (4, 4),
        "salient_weight": (0.88, 0.9),
        "attention": ("cos5", "cos5"),
        "slots": (5, 5),
        "momentum": (0.5, 0.5),
        "warm_up_share": (100 / 180, 50 / 100),
        "mil_weight": (0.2, 0.2),
        "attention_weight": (0.1, 0.1),
        "kd_weight": (1.0, 1.0),
        "kd_weight_after": (1.0, 1.0),
        "memory_target": (0.5, 0.5),
        "refined_weight": (1.0, 1.0),
        "memory_weight": (0.5, 0.5),
        "temperature": (0.2, 0.2),
        "base_share": (0.6, 0.8),
        "base_only": (False, False),
        "scoring_attention": (0.0, 0.3),
    }
    for name, values in table.items():
        assert (getattr(thumos.head, name), getattr(anet.head, name)) == values, name
    training = {
        "optimizer": ("adam", "adam"),
        "learning_rate": (5e-5, 1e-4),
        "beta1": (0.9, 0.9),
        "beta2": (0.99, 0.99),
        "weight_decay": (5e-4, 1e-3),
        "batch_size": (1, 32),
        "accumulate": (10, 1),
        "epochs": (180, 100),
        "sampling": ("full", "perturb_short"),
        "standardize": (False, False),
    }
    for name, values in training.items():
        assert (getattr(thumos.training, name), getattr(anet.training, name)) == values, name
    assert anet.training.num_snippets == anet.inference.num_snippets == 75
    assert (thumos.inference.sampling, anet.inference.sampling) == ("native", "uniform_short")
    assert thumos.inference.window_snippets > 2615  # the longest video
    cuts = [0.001 + 0.002 * step for step in range(20)]
    assert thumos.proposals.thresholds == pytest.approx(cuts)
    assert thumos.proposals.thresholds[-1] == 0.039
    assert replace(thumos.proposals, thresholds=()) == ProposalSettings(
        thresholds=(),
        class_threshold=0.1,
        allow_empty=False,
        align="start",
        upsample=1,
        oic=OicSettings(margin_ratio=0.25, class_bonus=0.0, min_length=2),
        nms=NmsSettings(kind="contain", threshold=0.5, plus_one=True, plus_unit="snippets"),
    )
    assert anet.proposals == ProposalSettings(
        thresholds=(0.005, 0.01, 0.015, 0.02),
        attention_thresholds=(0.005, 0.01, 0.015, 0.02),
        attention_bonus=0.25,
        class_threshold=0.1,
        allow_empty=False,
        align="start",
        upsample=20,
        oic=OicSettings(margin_ratio=0.15, class_bonus=0.0, min_length=2),
        nms=NmsSettings(kind="hard", threshold=0.9, plus_one=True),
    )


def test_the_rskp_preset_differs_where_rskp_does():
    ours, theirs = PRESETS["issf"]["thumos14"], PRESETS["issf"]["thumos14-rskp"]
    assert theirs.head == replace(
        ours.head,
        refine="rskp",
        warm_up_share=101 / 200,
        kd_weight_after=0.5,
        memory_target=0.2,
    )
    assert theirs.head.memory_rule() == "best"
    assert (theirs.head.num_prototypes, theirs.head.em_iterations) == (8, 2)
    assert theirs.head.propagation == 0.5
    assert theirs.training.epochs == 200
    assert theirs.proposals == ours.proposals


def test_small_is_small():
    small = PRESETS["issf"]["small"]
    assert 0 < small.head.width <= 256
    assert small.training.steps <= 400
    assert small.training.sampling == "crop"
    assert small.training.num_snippets == small.inference.window_snippets == 64
    assert small.inference.overlap_snippets == 32
    assert small.proposals.allow_empty
    assert small.proposals.align == "center"
    assert not small.proposals.nms.plus_one


# ---- runs ---------------------------------------------------------------------------------------


def planted():
    settings = PlantedSettings(num_classes=3, stream_width=8, min_snippets=45, max_snippets=60)
    videos = PlantedWorld(settings, 0).videos(12)
    return TaggedDataset(
        ids=tuple(f"v{index}" for index in range(12)),
        features=[one.features for one in videos],
        labels=np.stack([one.labels for one in videos]),
        classes=("a", "b", "c"),
        recipe=FeatureRecipe(name="planted", stream_width=settings.stream_width),
    )


def short(**head):
    small = PRESETS["issf"]["small"]
    training = replace(small.training, steps=24, batch_size=4, log_every=6)
    settings = replace(small.head, width=8, dropout=0.3, **head)
    return replace(small, head=settings, stages=(training,))


class StopAfter:
    """Answers True once, after so many questions."""

    def __init__(self, questions):
        self.left = questions

    def __call__(self):
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("options", [{}, {"refine": "rskp"}, {"saliency": "random"}])
def test_a_resumed_run_gives_the_same_weights(tmp_path, options):
    data, settings = planted(), short(**options)
    whole = train_head(data, "issf", settings, 3)
    assert whole.head.memory.filled.all()
    for stop_at in (10, 17):  # in warm-up, and between two epochs that use the memory
        run = RunOptions(folder=tmp_path, resume=True)
        with pytest.raises(Cancelled):
            train_head(data, "issf", settings, 3, run=replace(run, should_stop=StopAfter(stop_at)))
        resumed = train_head(data, "issf", settings, 3, run=run)
        state = resumed.head.state_dict()
        for name, value in whole.head.state_dict().items():
            assert torch.equal(value, state[name]), name
    other = train_head(data, "issf", settings, 4).head.state_dict()
    assert not torch.equal(other["embedding.conv.weight"], state["embedding.conv.weight"])
