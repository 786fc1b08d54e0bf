"""DCC without its contrast agrees with BaS-Net's code, ISSF in RSKP's mode with RSKP's code."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.heads.losses import (
    attention_sum,
    normalized_binary_cross_entropy,
    with_background,
)
from models.heads.refinement import propagate
from models.tests.parity_goldens import (
    MOMENT,
    RELATIVE,
    activations,
    assert_close,
    assert_same_segments,
    batch,
    decoded,
    golden,
    imported,
    native,
    segments,
    weights,
)

AFTER_WARM_UP = replace(MOMENT, epoch=150, epochs=180, videos=torch.zeros(1, dtype=torch.int64))


@pytest.fixture
def basnet(tmp_path):
    return imported("basnet", tmp_path, [weights("basnet")], hidden=6, width=8)


@pytest.fixture
def rskp(tmp_path):
    return imported("rskp", tmp_path, [weights("rskp")], embed=16, prototypes=8)


def test_basnet_activations_agree(basnet):
    recorded = golden("basnet")
    output = basnet.head(batch("basnet"))
    assert_close(output.evidence["base"], recorded["cas_base"])
    assert_close(output.evidence["suppressed"], recorded["cas_supp"])
    assert_close(output.attention, recorded["weights"])
    assert_close(output.video_scores, recorded["score_supp"][:, :-1])
    base = torch.softmax(output.evidence["video_base"], dim=-1)
    assert_close(base, recorded["score_base"])
    scaled = recorded["minmax_0"][:, :-1]
    shown = scaled.max(axis=0) > 0  # a class below zero throughout has no runs and is all 0 here
    assert_close(output.localization[0][:, shown], scaled[:, shown])
    assert output.localization[0][:, ~shown].max() == 0


def test_basnet_losses_agree(basnet):
    recorded = golden("basnet")
    output = basnet.head(batch("basnet"))
    labels = torch.from_numpy(recorded["labels"])
    total, _ = basnet.head.loss(output, labels, MOMENT)
    assert total.item() == pytest.approx(float(recorded["loss_total"]), rel=RELATIVE)
    for branch, name, background in (("base", "base", 1.0), ("suppressed", "supp", 0.0)):
        probabilities = torch.softmax(output.evidence[f"video_{branch}"], dim=-1)
        loss = normalized_binary_cross_entropy(probabilities, with_background(labels, background))
        assert loss.item() == pytest.approx(float(recorded[f"loss_{name}"]), rel=RELATIVE)
    sparsity = attention_sum(output.attention, output.mask)
    assert sparsity.item() == pytest.approx(float(recorded["loss_norm"]), rel=RELATIVE)


def test_basnet_segments_agree(basnet):
    recorded = golden("basnet")["segments"]
    assert len({(int(row[0]), int(row[1])) for row in recorded}) > 3, "two classes in one video"
    for video in range(3):
        theirs = recorded[recorded[:, 0] == video][:, 1:]
        assert_same_segments(segments(basnet, native("basnet", video)), theirs)


@pytest.mark.parametrize("video", [0, 1])
def test_rskp_activations_agree(rskp, video):
    recorded = golden("rskp")
    output = rskp.head(torch.from_numpy(native("rskp", video))[None])
    names = {
        "base.agnostic": "ca",
        "base.classwise": "mil",
        "base.attention": "attention",
        "base.logits": "logits",
        "refined.agnostic": "refined_ca",
        "refined.classwise": "refined_mil",
        "refined.logits": "refined_logits",
        "clean": "embedding",
        "prototypes": "mu",
    }
    for ours, theirs in names.items():
        value = output.evidence[ours][0]
        if ours.endswith(("agnostic", "classwise")):
            value = torch.softmax(value, dim=-1)
        assert_close(value, recorded[f"{theirs}_{video}"])
    assert_close(output.video_scores[0], recorded["video"][video][:-1])
    assert_close(output.localization[0], recorded[f"frames_{video}"][:, :-1])


@pytest.mark.parametrize("video", [0, 1])
def test_rskp_losses_of_warm_up_agree(rskp, video):
    recorded = golden("rskp")
    output = rskp.head(torch.from_numpy(native("rskp", video))[None])
    labels = torch.from_numpy(recorded["labels"][video : video + 1])
    total, parts = rskp.head.loss(output, labels, replace(MOMENT, epoch=0, epochs=180))
    for ours, theirs in (("ca", "fore"), ("mil", "back"), ("attention", "att"), ("kd", "kd")):
        wanted = float(recorded[f"loss_{theirs}_{video}"])
        assert parts[ours].item() == pytest.approx(wanted, rel=RELATIVE)
    assert total.item() == pytest.approx(float(recorded[f"loss_total_{video}"]), rel=RELATIVE)


@pytest.mark.parametrize("video", [0, 1])
def test_rskp_losses_with_the_memory_agree(rskp, video):
    recorded = golden("rskp")
    # RSKP mixes one fifth of the memory branch into the target and halves the distillation.
    settings = replace(rskp.head.settings, memory_target=0.2, kd_weight_after=0.5)
    head = rskp.head
    head.settings = settings
    with torch.no_grad():
        head.memory.features.copy_(torch.from_numpy(recorded["memory_features"]))
        head.memory.scores.copy_(torch.from_numpy(recorded["memory_scores"]))
        head.memory.filled.copy_(head.memory.scores > 0)
    output = head(torch.from_numpy(native("rskp", video))[None])
    labels = torch.from_numpy(recorded["labels"][video : video + 1])
    total, parts = head.loss(output, labels, AFTER_WARM_UP)
    for ours, theirs in (("ca", "fore"), ("mil", "back"), ("kd", "kd")):
        wanted = float(recorded[f"loss_after_{theirs}_{video}"])
        assert parts[ours].item() == pytest.approx(wanted, rel=RELATIVE)
    wanted = float(recorded[f"loss_after_total_{video}"])
    assert total.item() == pytest.approx(wanted, rel=RELATIVE)


def test_rskp_memory_is_filled_and_updated_alike(rskp):
    recorded = golden("rskp")
    labels = torch.from_numpy(recorded["labels"])

    class Videos:
        def __init__(self):
            self.labels = labels

        def features(self, video):
            return torch.from_numpy(native("rskp", video))

    head = rskp.head
    head.start_epoch(replace(AFTER_WARM_UP, epoch=100), Videos())
    filled = torch.from_numpy(recorded["memory_scores"]) > 0
    assert_close(head.memory.scores * filled, recorded["memory_scores"])
    assert_close(head.memory.features * filled[..., None], recorded["memory_features"])
    output = head(torch.from_numpy(native("rskp", 0))[None])
    head.after_batch(output, labels[:1], AFTER_WARM_UP)
    filled = torch.from_numpy(recorded["memory_scores_updated"]) > 0
    assert_close(head.memory.scores * filled, recorded["memory_scores_updated"])
    assert_close(head.memory.features * filled[..., None], recorded["memory_features_updated"])


def test_propagation_is_the_limit_of_alternation():
    """Features and prototypes that update each other in turn end where the closed form says.

    Source: RSKP random_walk and the equation it solves; a share of 0.5 goes on at each step.
    """
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(1, 12, 16, generator=rng, dtype=torch.float64)
    prototypes = torch.randn(1, 4, 16, generator=rng, dtype=torch.float64)
    mask, members = torch.ones(1, 12, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool)
    got = propagate(features, prototypes, members, mask, 0.5)
    one = torch.nn.functional.normalize(features, dim=-1)
    other = torch.nn.functional.normalize(prototypes, dim=-1)
    share = torch.softmax(5 * other @ one.transpose(1, 2), dim=1)
    rows = share / share.sum(dim=-1, keepdim=True)
    moved, centres = features, prototypes
    for _ in range(200):
        moved, centres = (
            0.5 * share.transpose(1, 2) @ centres + 0.5 * features,
            0.5 * rows @ moved + 0.5 * prototypes,
        )
    torch.testing.assert_close(got, moved, rtol=1e-9, atol=1e-9)


def test_rskp_segments_agree(rskp):
    """All segments that end inside the video agree; RSKP's may end one snippet behind it."""
    recorded = golden("rskp")["segments"]
    for video in range(2):
        values = native("rskp", video)
        theirs = recorded[recorded[:, 0] == video][:, 1:].copy()
        theirs[:, 2:] = np.minimum(theirs[:, 2:], len(values)) * 16 / 25
        ours = segments(rskp, values)
        # The recording decides about the classes by a score that counts the background as well.
        assert_same_segments(ours, theirs)


def test_rskp_without_its_slip_ends_segments_a_snippet_earlier(rskp):
    values = native("rskp", 0)
    oic = replace(rskp.card.proposals.oic, trailing_sample=False)
    clean = replace(rskp.card.proposals, oic=oic)
    seen = activations(rskp, values)
    found = decoded(replace(rskp, card=replace(rskp.card, proposals=clean)), seen, values)
    assert len(found)
    for label, _, start_seconds, end_seconds in found:
        start, stop = round(start_seconds * 25 / 16), round(end_seconds * 25 / 16)
        run = seen.localization[start:stop, int(label)]
        after = seen.localization[stop : stop + 1, int(label)]
        assert run.min() > after.max(initial=0.0), "the run holds every snippet above the cut"
