"""ISSF: schedules, options and presets against the published numbers."""

import math
from dataclasses import replace

import pytest
import torch

from models.config import NmsSettings, OicSettings, ProposalSettings
from models.heads.base import HeadSpec
from models.heads.class_memory import memory_share
from models.heads.issf import IssfHead
from models.heads.issf_settings import IssfSettings
from models.heads.registry import HEADS, PRESETS
from models.tests.issf_scene import (
    LABELS,
    LATE,
    PLAIN,
    SPEC,
    Videos,
    moment,
    published,
    scene,
)


def test_schedules_have_the_published_numbers():
    assert published("thumos14").warm_up_epochs(180) == 100
    assert published("activitynet1.3").warm_up_epochs(100) == 50
    assert published("thumos14-rskp").warm_up_epochs(200) == 101
    assert PRESETS["issf"]["thumos14"].training.num_steps(200) == 180 * 20
    for progress, ratio in [(0, 0.693), (0.5, 0.974), (1, 1.313)]:
        assert memory_share(0.5, progress) == pytest.approx(0.5 * ratio, abs=5e-4)
    assert memory_share(0.9, 1) == 1.0


def test_parameter_count_of_the_published_rskp_network():
    spec = HeadSpec(tuple(f"class{index}" for index in range(20)), ("rgb", "flow"), 1024)
    head = IssfHead(spec, published("thumos14-rskp"))
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
    assert published("thumos14-rskp") == replace(
        published("thumos14"),
        refine="rskp",
        warm_up_share=101 / 200,
        kd_weight_after=0.5,
        memory_target=0.2,
    )
    head = published("thumos14-rskp")
    assert head.memory_rule() == "best"
    assert (head.num_prototypes, head.em_iterations, head.propagation) == (8, 2, 0.5)
    assert theirs.training.epochs == 200
    assert theirs.proposals == ours.proposals


def test_small_is_small():
    small = PRESETS["issf"]["small"]
    assert 0 < published("small").width <= 256
    assert small.training.steps <= 400
    assert small.training.sampling == "crop"
    assert small.training.num_snippets == small.inference.window_snippets == 64
    assert small.inference.overlap_snippets == 32
    assert small.proposals.allow_empty
    assert small.proposals.align == "center"
    assert not small.proposals.nms.plus_one
