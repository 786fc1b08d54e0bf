"""AICL and ASL agree with their authors' code: activations, losses and final segments."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.heads.aicl import AiclHead
from models.tests.parity_goldens import (
    MOMENT,
    RELATIVE,
    assert_close,
    assert_same_segments,
    batch,
    golden,
    imported,
    native,
    segments,
    weights,
)


@pytest.fixture(params=["aicl", "asl"])
def name(request):
    return request.param


@pytest.fixture
def model(name, tmp_path):
    return imported(name, tmp_path, [weights(name)], hidden=6)


def test_activations_agree(name, model):
    output = model.head(batch(name))
    recorded = golden(name)
    assert_close(output.class_logits, recorded["cas"])
    assert_close(output.evidence["rgb_actionness"], recorded["rgb"])
    assert_close(output.evidence["flow_actionness"], recorded["flow"])
    assert_close(output.video_scores, recorded["video"])
    fused = torch.softmax(torch.from_numpy(recorded["cas"]), dim=-1).numpy()
    fused = (fused + recorded["rgb"][..., None] + recorded["flow"][..., None]) / 3
    assert_close(output.localization, fused)


def test_final_segments_agree(name, model):
    recorded = golden(name)["segments"]
    for video in range(3):
        theirs = recorded[recorded[:, 0] == video][:, 1:]
        assert_same_segments(segments(model, native(name, video)), theirs)


def test_a_wrong_margin_would_be_noticed(model, name):
    oic = replace(model.card.proposals.oic, margin_ratio=0.25)
    other = replace(
        model, card=replace(model.card, proposals=replace(model.card.proposals, oic=oic))
    )
    theirs = golden(name)["segments"]
    with pytest.raises(AssertionError):
        assert_same_segments(segments(other, native(name, 0)), theirs[theirs[:, 0] == 0][:, 1:])


def test_every_loss_term_of_aicl_agrees(tmp_path):
    model = imported("aicl", tmp_path, [weights("aicl")], hidden=6)
    recorded = golden("aicl")
    output = model.head(batch("aicl"))
    total, parts = model.head.loss(output, torch.from_numpy(recorded["labels"]), MOMENT)
    for part in ("video", "actionness", "modality", "action", "contrast"):
        assert parts[part].item() == pytest.approx(float(recorded[f"loss_{part}"]), rel=RELATIVE)
    assert total.item() == pytest.approx(float(recorded["loss_total"]), rel=RELATIVE)


def test_the_mined_sets_of_aicl_agree(tmp_path):
    model = imported("aicl", tmp_path, [weights("aicl")], hidden=6)
    recorded = golden("aicl")
    output = model.head(batch("aicl"))
    class_actionness = torch.sigmoid(output.class_logits.sum(dim=-1))
    assert_close(class_actionness, recorded["actionness1"])
    assert_close(output.attention, recorded["actionness2"])
    assert isinstance(model.head, AiclHead)
    sets = model.head.mine(output, class_actionness)
    agreement = recorded["bin1"] + recorded["bin2"]
    for name, wanted in (("ca", 2), ("cb", 0), ("ia", 1), ("ib", 1)):
        assert (agreement[sets[name].numpy()] == wanted).all()
        assert sets[name].sum(dim=1).tolist() == [2, 2, 2]
    assert (recorded["members"] >= 2).all(), "short sets would be filled differently"


def test_the_loss_of_asl_agrees(tmp_path):
    model = imported("asl", tmp_path, [weights("asl")], hidden=6)
    recorded = golden("asl")
    output = model.head(batch("asl"))
    _, parts = model.head.loss(output, torch.from_numpy(recorded["labels"]), MOMENT)
    assert parts["video"].item() == pytest.approx(float(recorded["loss_video"]), rel=RELATIVE)
    assert np.isfinite(parts["actionness"].item())
