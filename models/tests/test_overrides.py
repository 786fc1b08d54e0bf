"""What a user may change about a localization: ranges, names of fields, effect on the settings."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import InferenceSettings, NmsSettings, ProposalSettings
from models.errors import OptionInvalid
from models.heads.base import HeadSpec
from models.heads.registry import build_head
from models.localize.windows import fade_weights, plan_windows
from models.overrides import LocalizeOverrides, NmsOverrides
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.types import FeatureSet

OWN = ProposalSettings(
    min_raw_score=0.6, class_min_scores=(0.7, 0.8), nms=NmsSettings("soft", 0.3, 0.2, plus_one=True)
)


def test_nothing_given_changes_nothing():
    overrides = LocalizeOverrides.from_json({})
    assert overrides == LocalizeOverrides()
    assert overrides.proposals(OWN) == OWN
    assert overrides.inference(InferenceSettings()) == InferenceSettings()
    assert overrides.keeps("anything", 0.0)


def test_what_is_given_takes_the_place_of_the_models_own():
    overrides = LocalizeOverrides.from_json(
        {
            "class_threshold": 0.3,
            "thresholds": [0.2, 0.5],
            "min_raw_score": -1,
            "nms": {"threshold": 0.7},
            "speed": "fast",
        }
    )
    assert overrides.proposals(OWN) == replace(
        OWN,
        class_threshold=0.3,
        thresholds=(0.2, 0.5),
        min_raw_score=-1,
        class_min_scores=(),
        nms=replace(OWN.nms, threshold=0.7),
    )


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"labels": ["x"] * 1001}, "labels"),
        ({"labels": "fall"}, "labels"),
        ({"labels": [1]}, "labels"),
        ({"labels": ["x" * 256]}, "labels"),
        ({"min_score": 1.1}, "min_score"),
        ({"min_score": "0.5"}, "min_score"),
        ({"class_threshold": -0.1}, "class_threshold"),
        ({"class_threshold": float("nan")}, "class_threshold"),
        ({"thresholds": []}, "thresholds"),
        ({"thresholds": 0.5}, "thresholds"),
        ({"thresholds": [0.5, 1.0]}, "thresholds"),
        ({"thresholds": [True]}, "thresholds"),
        ({"thresholds": [0.1] * 33}, "thresholds"),
        ({"min_raw_score": -2.1}, "min_raw_score"),
        ({"nms": "hard"}, "nms"),
        ({"nms": {"iou": 0.5}}, "nms"),
        ({"nms": {"kind": "medium"}}, "nms.kind"),
        ({"nms": {"threshold": 0}}, "nms.threshold"),
        ({"nms": {"alpha": 11}}, "nms.alpha"),
        ({"window_overlap": 0.95}, "window_overlap"),
        ({"treshold": 0.5}, "treshold"),
    ],
)
def test_a_wrong_value_is_refused_by_name(options, field):
    with pytest.raises(OptionInvalid, match=f"option {field} ") as refused:
        LocalizeOverrides.from_json(options)
    assert refused.value.field == field


def test_labels_are_the_models():
    overrides = LocalizeOverrides(labels=("fall", "fly"))
    with pytest.raises(OptionInvalid, match="'fly'"):
        overrides.check_labels(("fall", "walk"))
    overrides.check_labels(("fly", "fall"))
    assert overrides.keeps("fall", 0.0)
    assert not overrides.keeps("walk", 1.0)
    assert not LocalizeOverrides(min_score=0.5).keeps("walk", 0.4)


def test_what_cannot_apply_to_a_model_is_refused():
    own = replace(OWN, source="head")
    with pytest.raises(OptionInvalid, match="proposes intervals by itself"):
        LocalizeOverrides(thresholds=(0.5,)).proposals(own)
    assert LocalizeOverrides(nms=NmsOverrides("hard")).proposals(own).nms.kind == "hard"
    with pytest.raises(OptionInvalid, match="sees every video whole"):
        LocalizeOverrides(window_overlap=0.5).inference(InferenceSettings(sampling="uniform"))


@given(st.floats(0.0, 0.9), st.integers(1, 200), st.integers(1, 600))
def test_any_overlap_makes_windows_that_cover_a_video(share, window_snippets, num_snippets):
    own = InferenceSettings(window_snippets=window_snippets, overlap_snippets=0)
    changed = LocalizeOverrides(window_overlap=share).inference(own)
    ranges = plan_windows(num_snippets, window_snippets, changed.overlap_snippets)
    total = np.zeros(num_snippets)
    for (start, stop), weight in zip(ranges, fade_weights(ranges), strict=True):
        assert (weight > 0).all()
        total[start:stop] += weight
    np.testing.assert_allclose(total, 1.0)


def test_another_overlap_shows_the_head_other_windows():
    recipe = FeatureRecipe("test", streams=("rgb", "flow"), stream_width=8)
    head = build_head("aicl", HeadSpec.for_recipe(("a", "b"), recipe)).eval()
    width = recipe.feature_width
    own = InferenceSettings(window_snippets=16, overlap_snippets=8)
    model = SimpleNamespace(
        head=head, recipe=recipe, inference=own,
        standardize_mean=np.zeros(width, np.float32), standardize_std=np.ones(width, np.float32),
    )  # fmt: skip
    values = np.random.default_rng(0).normal(size=(50, width)).astype(np.float32)
    grid = recipe.grid(50 * 0.64)
    features = FeatureSet(values, grid.snippet_seconds(), recipe.digest, grid.duration_seconds)
    plain = predict(model, features)
    wished = predict(model, features, LocalizeOverrides(window_overlap=0.75).inference(own))
    same = predict(model, features, LocalizeOverrides(window_overlap=0.5).inference(own))
    assert np.array_equal(plain.localization, same.localization)
    assert plain.localization.shape == wished.localization.shape
    assert not np.array_equal(plain.localization, wished.localization)
