"""TSSA: forward pass, losses, schedule and dictionary against a slow direct reading."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.heads.base import HeadSpec, Moment
from models.heads.dictionary import (
    ClassDictionary,
    assigned_classes,
    class_means,
    largest_share,
)
from models.heads.tssa import TssaHead, TssaSettings, pull_weight

SPEC = HeadSpec(("a", "b", "c"), ("rgb", "flow"), 6)
LATE = Moment("main", 90, 100, 9, 10, torch.arange(4))
LABELS = torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
LENGTHS = (50, 44, 7, 1)
PUBLISHED = TssaSettings(dropout=0.0)
VARIANTS = {
    "published": PUBLISHED,
    "mean": replace(PUBLISHED, guide="mean", guide_detached=False),
    "restricted": replace(PUBLISHED, restrict_to_labels=True, classifiers="shared"),
    "narrow": replace(PUBLISHED, width=5, multiple_instance_share=0.3, sequence="attention"),
    "plain": replace(PUBLISHED, residual=False, width=7, pull_weight=0.0),
    "empty": replace(PUBLISHED, empty_is_background=True, sequence="attended_probability"),
}
variants = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS.keys())


def scene(settings, seed=0):
    torch.manual_seed(seed)
    head = TssaHead(SPEC, settings)
    features = 3 * torch.randn(4, 50, SPEC.feature_width)
    mask = torch.arange(50)[None] < torch.tensor(LENGTHS)[:, None]
    return head, head(features, mask), features, mask


def softmax(values):
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


class Direct:
    """The equations for one video in float64, loops over time and classes, no masks."""

    def __init__(self, head, features):
        state = {name: value.double().numpy() for name, value in head.state_dict().items()}
        self.settings, self.state, length = head.settings, state, len(features)
        kernel, bias = (state[f"embedding.convolved.conv.{one}"] for one in ("weight", "bias"))
        padded = np.pad(features, ((1, 1), (0, 0)))
        h = np.zeros((length, len(bias)))
        for t in range(length):
            for tap in range(3):
                h[t] += kernel[:, :, tap] @ padded[t + tap]
        h = np.maximum(h + bias, 0)
        if self.settings.residual:
            through = state.get("embedding.projection.conv.weight")
            h += features if through is None else features @ through[:, :, 0].T
        self.h, self.p = h, self.linear("snippet_classifier", h)
        self.a = softmax(self.linear("attention", h))

    def linear(self, name, values):
        weight, bias = (self.state[f"{name}.conv.{one}"] for one in ("weight", "bias"))
        return values @ weight[:, :, 0].T + bias

    def video(self, kind, divisor):
        a = self.a[:, kind]
        pooled = sum(a[t] * self.h[t] for t in range(len(a))) / sum(a)
        shared = self.settings.classifiers == "shared"
        pooling = self.linear("snippet_classifier" if shared else "pooled_classifier", pooled)
        k = max(len(a) // divisor, 1)
        best = [sum(sorted(a * column, reverse=True)[:k]) / k for column in self.p.T]
        share = self.settings.multiple_instance_share
        return (1 - share) * softmax(pooling) + share * softmax(np.array(best))

    def losses(self, labels):
        settings, present = self.settings, [c for c in range(3) if labels[c] > 0]

        def cross_entropy(video, members):
            return -sum(math.log(video[c]) for c in members) / max(1, len(members))

        empty = [3] if settings.empty_is_background and not present else []
        q, guide, pull = self.state["dictionary.centroids"], 0.0, 0.0
        for t in range(len(self.h)):
            guide += abs(1 - self.a[t, 0] - softmax(self.a[t, 0] * self.p[t])[3])
            candidates = [*present, 3] if settings.restrict_to_labels else range(4)
            best = max(candidates, key=lambda c: self.p[t, c])
            pull += math.sqrt(((self.h[t] - q[best]) ** 2).sum() + 1e-8)
        return {
            "foreground": cross_entropy(self.video(0, 8), present + empty),
            "context": cross_entropy(self.video(1, 2), [*present, 3]),
            "background": cross_entropy(self.video(2, 2), [3]),
            "guide": guide / (len(self.h) if settings.guide == "mean" else 1),
            "pull": pull / len(self.h),
        }


@variants
def test_forward_and_every_loss_term_agree_with_a_direct_reading(settings):
    head, output, features, _ = scene(settings)
    total, parts = head.loss(output, LABELS, LATE)
    wanted = []
    for row, length in enumerate(LENGTHS):
        direct = Direct(head, features[row, :length].double().numpy())
        attended = softmax(direct.a[:, :1] * direct.p)[:, :3]
        sequences = {
            "attended_softmax": attended,
            "attended_probability": direct.a[:, :1] * softmax(direct.p)[:, :3],
            "attention": np.repeat(direct.a[:, :1], 3, axis=1),
        }
        for got, expected in [
            (output.localization, sequences[settings.sequence]),
            (output.scoring, sequences[settings.sequence]),
            (output.class_logits, direct.p[:, :3]),
            (output.attention, direct.a[:, 0]),
        ]:
            assert got[row, :length].detach().numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)
        scores = direct.video(0, 8)[:3]
        assert output.video_scores[row].detach().numpy() == pytest.approx(scores, rel=1e-4)
        wanted.append(direct.losses(LABELS[row].tolist()))
    means = {name: np.mean([one[name] for one in wanted]) for name in wanted[0]}
    for name, value in parts.items():
        if name != "largest_class":
            assert value.item() == pytest.approx(means[name], rel=1e-4, abs=1e-5), name
    assert ("pull" in parts) == (settings.pull_weight > 0)
    weighted = means["foreground"] + 0.1 * means["context"] + 0.1 * means["background"]
    weighted += 0.002 * means["guide"] + settings.pull_weight * means["pull"]
    assert total.item() == pytest.approx(weighted, rel=1e-4)


@variants
def test_the_loss_ignores_padding(settings):
    head, output, features, mask = scene(settings)
    loud = features.masked_fill(~mask[..., None], 1e3)
    total, parts = head.loss(output, LABELS, LATE)
    again, same = head.loss(head(loud, mask), LABELS, LATE)
    assert total.item() == pytest.approx(again.item(), rel=1e-5)
    for name, value in parts.items():
        assert value.item() == pytest.approx(same[name].item(), rel=1e-5), name


@variants
def test_every_parameter_learns_and_gradients_are_finite(settings):
    head, output, _, _ = scene(settings)
    total, _ = head.loss(output, LABELS, LATE)
    total.backward()
    for name, parameter in head.named_parameters():
        if settings.pull_weight == 0 and name.startswith("dictionary"):
            assert parameter.grad is None
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_guide_moves_the_attention_only_where_it_is_not_detached():
    for detached in (True, False):
        head, output, _, _ = scene(replace(PUBLISHED, guide_detached=detached))
        _, parts = head.loss(output, LABELS, LATE)
        attended = output.evidence["attended"]
        ends = [output.attention, attended]
        grads = torch.autograd.grad(parts["guide"], ends, retain_graph=True)
        # Through the attended logits the attention always takes part; the direct way is extra.
        (through,) = torch.autograd.grad(attended, output.attention, grads[1])
        assert torch.allclose(grads[0], through) == detached


@pytest.mark.parametrize("labels", [torch.zeros(1, 3), torch.tensor([[0.0, 1, 0]])])
@pytest.mark.parametrize("features", [torch.randn(1, 1, 12), torch.zeros(1, 9, 12)])
def test_a_single_snippet_zero_features_and_no_labels_give_finite_gradients(labels, features):
    head = TssaHead(SPEC, TssaSettings(residual=True))
    with torch.no_grad():
        head.dictionary.centroids.zero_()  # distance 0 where the embedding is 0 too
        head.embedding.convolved.conv.bias.fill_(-1.0)
    total, _ = head.loss(head(features), labels, LATE)
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(p.grad).all() for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize("asked", [False, True])
def test_a_video_without_labels_teaches_background_but_no_foreground_unless_asked(asked):
    torch.manual_seed(0)
    head = TssaHead(SPEC, replace(PUBLISHED, empty_is_background=asked))
    output = head(torch.randn(1, 9, 12))
    _, parts = head.loss(output, torch.zeros(1, 3), LATE)
    assert (parts["foreground"] > 0) == asked
    assert parts["background"] > 0
    assert parts["context"] > 0
    _, labelled = head.loss(output, torch.tensor([[1.0, 0, 0]]), LATE)
    assert labelled["foreground"] > 0


def test_the_pull_waits_ten_epochs_and_grows_for_ten_of_a_hundred():
    steps_per_epoch, epochs = 13, 100  # 200 videos, 16 at a time
    steps = steps_per_epoch * epochs

    def weight(epoch, step_in_epoch=0):
        step = epoch * steps_per_epoch + step_in_epoch + 1
        moment = Moment("main", step, steps, epoch, epochs, torch.arange(1))
        return pull_weight(PUBLISHED, moment.fraction)

    assert {weight(epoch, step) for epoch in range(10) for step in range(13)} == {0.0}
    assert [weight(epoch) for epoch in (10, 15, 20)] == pytest.approx([0.0, 0.025, 0.05])
    assert weight(19, 12) == pytest.approx(0.05, rel=0.01)
    assert {weight(epoch, step) for epoch in range(20, 100) for step in range(13)} == {0.05}
    at_once = replace(PUBLISHED, pull_quiet=0.0, pull_ramp=0.0)
    assert pull_weight(at_once, 0.0) == 0.05
    assert pull_weight(replace(at_once, pull_quiet=0.5), 0.4) == 0.0


def test_the_schedule_enters_the_loss():
    head, output, _, _ = scene(PUBLISHED)
    early = replace(LATE, step=1, epoch=0)
    (first, parts), (last, _) = head.loss(output, LABELS, early), head.loss(output, LABELS, LATE)
    assert (last - first).item() == pytest.approx(0.05 * parts["pull"].item(), rel=1e-3)


class Videos:
    """Three videos; class c is in none."""

    labels = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0]])

    def __init__(self):
        generator = torch.Generator().manual_seed(3)
        self.values = [torch.randn(n, 12, generator=generator) for n in (5, 9, 2)]

    def features(self, video):
        return self.values[video]


def test_the_dictionary_starts_at_class_means():
    videos = Videos()
    one, two, three = (values.double() for values in videos.values)
    wanted = torch.stack(
        [
            torch.cat([one, two]).mean(dim=0),
            torch.cat([two, three]).mean(dim=0),
            torch.cat([one, two, three]).mean(dim=0),  # absent: as the background
            torch.cat([one, two, three]).mean(dim=0),
        ]
    ).float()
    head = TssaHead(SPEC, PUBLISHED)
    head.start_stage("main", videos)
    assert torch.allclose(head.dictionary.centroids, wanted, atol=1e-6)
    narrow = TssaHead(SPEC, replace(PUBLISHED, width=4))
    narrow.start_stage("main", videos)
    assert narrow.embedding.projection is not None
    projection = narrow.embedding.projection.conv.weight[:, :, 0].T
    assert torch.allclose(narrow.dictionary.centroids, wanted @ projection, atol=1e-6)
    bare = TssaHead(SPEC, replace(PUBLISHED, width=4, residual=False))
    bare.start_stage("main", videos)
    expected = class_means(videos, lambda x: bare.embedding(x[None], torch.ones(1, len(x)) > 0)[0])
    assert torch.allclose(bare.dictionary.centroids, expected, atol=1e-6)


def test_a_uniform_dictionary_is_blind_to_class_at_the_start():
    torch.manual_seed(0)
    head = TssaHead(
        HeadSpec(tuple("abcdefgh"), ("rgb", "flow"), 1024),
        replace(PUBLISHED, dictionary_init="uniform", kernel=1),
    )
    rows = head.dictionary.centroids.detach().clone()
    head.start_stage("main", Videos())
    assert torch.equal(rows, head.dictionary.centroids)
    assert rows.min() >= 0
    assert rows.max() <= 1
    assert rows.norm(dim=1).tolist() == pytest.approx([26.1] * 9, abs=0.6)
    unit = rows / rows.norm(dim=1, keepdim=True)
    cosines = (unit @ unit.T)[~torch.eye(9, dtype=torch.bool)]
    assert cosines.tolist() == pytest.approx([0.75] * 72, abs=0.02)


def test_pull_at_a_centroid_is_zero_and_its_gradient_points_there():
    dictionary = ClassDictionary(3, 4)
    near = dictionary.centroids.detach()[None, [2, 0]].clone().requires_grad_()
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert dictionary.pull(near, torch.tensor([[2, 0]]), mask).item() < 2e-4
    far = dictionary.pull(near, torch.tensor([[1, 1]]), mask)
    embedding_grad, centroid_grad = torch.autograd.grad(far, [near, dictionary.centroids])
    step = near.detach() - 0.1 * embedding_grad
    assert dictionary.pull(step, torch.tensor([[1, 1]]), mask) < far
    assert centroid_grad[1].abs().sum() > 0
    assert centroid_grad[[0, 2]].abs().sum() == 0


def test_assignment_and_its_concentration():
    logits = torch.tensor([[[9.0, 1, 2, 3], [0, 5, 9, 1], [0, 9, 1, 2]]])
    assert assigned_classes(logits).tolist() == [[0, 2, 1]]
    assert assigned_classes(logits, torch.tensor([[0.0, 1, 0]])).tolist() == [[3, 1, 1]]
    assert assigned_classes(logits, torch.zeros(1, 3)).tolist() == [[3, 3, 3]]
    classes = torch.tensor([[1, 1, 2, 0], [1, 3, 3, 3]])
    mask = torch.tensor([[True, True, True, False], [True, False, False, False]])
    assert largest_share(classes, mask).item() == pytest.approx(3 / 4)
    assert largest_share(torch.ones_like(classes), mask).item() == 1.0


@pytest.mark.parametrize(
    ("settings", "level"),
    [(PUBLISHED, 1 / 4), (replace(PUBLISHED, sequence="attended_probability"), 0.0)],
)
def test_no_foreground_gives_a_flat_sequence_or_none(settings, level):
    torch.manual_seed(0)
    head = TssaHead(SPEC, settings).eval()
    with torch.no_grad():
        head.get_parameter("attention.conv.bias")[0] = -1e4
    got = head(torch.randn(1, 8, 12)).localization
    assert got.flatten().tolist() == pytest.approx([level] * 24, abs=1e-6)


def test_published_sizes():
    spec = HeadSpec(tuple(f"c{i}" for i in range(20)), ("rgb", "flow"), 1024)
    sizes = {}
    for classifiers in ("shared", "separate"):
        head = TssaHead(spec, TssaSettings(classifiers=classifiers))
        state = head.trained_state()
        assert not any(name.startswith("dictionary") for name in state)
        sizes[classifiers] = sum(value.numel() for value in state.values())
        assert head.dictionary.centroids.shape == (21, 2048)
    # One classifier is ACM-Net's network, whose size is known.
    assert sizes == {"shared": 12_634_136, "separate": 12_634_136 + 21 * 2049}


def test_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    head = TssaHead(SPEC, TssaSettings(dropout=0.5))
    features = torch.randn(1, 9, 12)
    one, two = head(features), head(features)
    assert torch.equal(one.attention, two.attention)  # only the snippet classifier is behind it
    assert not torch.equal(one.class_logits, two.class_logits)
    head.eval()
    assert torch.equal(head(features).class_logits, head(features).class_logits)
    dropped = TssaHead(SPEC, TssaSettings(input_dropout=0.5))
    assert not torch.equal(dropped(features).attention, dropped(features).attention)
