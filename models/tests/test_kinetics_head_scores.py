"""The backbone's classifier applied to stored features."""

import pytest
import torch

from models.errors import ContractViolation, WeightsInvalid
from models.heads.base import HeadSpec, Moment
from models.heads.kinetics import KineticsHead, classifier_state
from models.heads.registry import build_head

SPEC = HeadSpec(tuple(f"c{i}" for i in range(10)), ("rgb", "flow"), 4)

MOMENT = Moment("main", 1, 1, 0, 1, torch.zeros(1, dtype=torch.int64))


def backbone():
    return {
        "logits.conv3d.weight": torch.randn(10, 4, 1, 1, 1),
        "logits.conv3d.bias": torch.randn(10),
        "Conv3d_1a_7x7.conv3d.weight": torch.zeros(1),
    }


def test_logits_are_the_mean_of_the_streams_classifiers():
    backbones = {"rgb": backbone(), "flow": backbone()}
    head = build_head("kinetics", SPEC).eval()
    head.load_state_dict(classifier_state(backbones))
    features = torch.randn(2, 5, 8)
    logits = torch.zeros(2, 5, 10)
    for place, weights in zip((slice(0, 4), slice(4, 8)), backbones.values(), strict=True):
        weight = weights["logits.conv3d.weight"].flatten(1)
        logits = logits + (features[..., place] @ weight.T + weights["logits.conv3d.bias"]) / 2
    output = head(features)
    torch.testing.assert_close(output.class_logits, logits)
    torch.testing.assert_close(output.localization, logits.softmax(dim=2))
    best = logits.softmax(dim=2).sort(dim=1, descending=True).values[:, :3].mean(dim=1)
    torch.testing.assert_close(output.video_scores, best)


def test_a_short_action_in_a_long_video_keeps_its_score():
    head = build_head("kinetics", SPEC).eval()
    assert isinstance(head, KineticsHead)
    with torch.no_grad():
        for classifier in head.classifiers.values():
            assert isinstance(classifier, torch.nn.Linear)
            classifier.weight.zero_()
            classifier.bias.zero_()
            classifier.weight[3, 0] = 20.0
    features = torch.zeros(2000, 8)
    features[700:703] = 1.0
    scores = head.activations(features).video_scores
    assert scores[3] > 0.99
    assert scores[[0, 1, 2]].max() < 0.11


def test_a_backbone_without_classifier_is_refused():
    with pytest.raises(WeightsInvalid, match="flow backbone"):
        classifier_state({"rgb": backbone(), "flow": {}})


def test_it_cannot_be_trained():
    head = build_head("kinetics", SPEC)
    with pytest.raises(ContractViolation, match="no loss"):
        head.loss(head(torch.randn(1, 2, 8)), torch.zeros(1, 10), MOMENT)
