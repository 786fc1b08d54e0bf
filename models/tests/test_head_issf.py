"""ISSF: forward pass, losses and gradients against a slow direct reading of the equations."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from models.heads.issf import IssfHead
from models.tests.issf_scene import (
    LABELS,
    LATE,
    LENGTHS,
    PLAIN,
    SPEC,
    VARIANTS,
    WARM,
    filled,
    moment,
    scene,
)


def cosines(one, other):
    return functional.cosine_similarity(one[..., :, None, :], other[..., None, :, :], dim=-1)


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


def direct_ce(probabilities, label):
    label = label / label.sum() if label.sum() > 0 else label
    return -(label * probabilities.log()).sum()


def direct_kd(logits, target):
    total = torch.zeros(())
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
    expected = {part: torch.zeros(()) for part in ("ca", "mil", "kd", "attention")}
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
