"""What every head must do, whatever it is."""

import numpy as np
import pytest
import torch

from models.errors import ContractViolation, ModelUnknown, RecipeMismatch
from models.heads.base import HeadSpec
from models.heads.blocks import (
    TemporalEmbedding,
    above_own_median,
    attention_pooling,
    snippet_counts,
    top_selection,
    topk_mean,
)
from models.heads.registry import HEADS, PRESETS, build_head

SPEC = HeadSpec(("a", "b", "c"), ("rgb", "flow"), 8)


def build(method):
    torch.manual_seed(0)
    return build_head(method, SPEC).eval()


@pytest.mark.parametrize("method", sorted(HEADS))
@pytest.mark.parametrize("num_snippets", [1, 2, 320])
def test_activations_are_valid(method, num_snippets):
    features = 50 * torch.randn(num_snippets, SPEC.feature_width)
    got = build(method).activations(features)
    assert got.localization.shape == got.scoring.shape == (num_snippets, 3)
    assert got.video_scores.shape == (3,)
    assert got.attention.shape == (num_snippets,)
    assert got.classes == SPEC.classes
    for values in (got.localization, got.scoring, got.video_scores, got.attention):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1 + 1e-6


@pytest.mark.parametrize("method", sorted(HEADS))
def test_state_dict_round_trip(method):
    features = torch.randn(2, 9, SPEC.feature_width)
    one = build(method)
    torch.manual_seed(1)
    other = build_head(method, SPEC).eval()
    assert not torch.equal(one(features).class_logits, other(features).class_logits)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(features).class_logits, other(features).class_logits)


@pytest.mark.parametrize("method", sorted(HEADS))
def test_padding_changes_nothing(method):
    head = build(method)
    short, long = torch.randn(17, SPEC.feature_width), torch.randn(40, SPEC.feature_width)
    batch = torch.full((2, 40, SPEC.feature_width), 1e3)  # loud padding must stay unheard
    batch[0, :17], batch[1] = short, long
    mask = torch.zeros(2, 40, dtype=torch.bool)
    mask[0, :17], mask[1] = True, True
    with torch.no_grad():
        together, alone = head(batch, mask), head(short[None])
    for name in ("class_logits", "localization", "scoring", "attention"):
        torch.testing.assert_close(getattr(together, name)[0, :17], getattr(alone, name)[0])
    torch.testing.assert_close(together.video_scores[0], alone.video_scores[0])


@pytest.mark.parametrize("method", sorted(HEADS))
def test_wrong_shapes_are_refused(method):
    head = build(method)
    with pytest.raises(ContractViolation, match=r"\[B, T, 16\]"):
        head(torch.randn(1, 4, 15))
    with pytest.raises(ContractViolation, match="real snippet in each row"):
        head(torch.randn(1, 4, 16), torch.zeros(1, 4, dtype=torch.bool))
    with pytest.raises(ContractViolation):
        head.activations(torch.randn(0, 16))


@pytest.mark.parametrize(
    ("method", "preset"), [(m, p) for m, presets in PRESETS.items() for p in presets]
)
def test_a_single_class_can_be_told_from_nothing(method, preset):
    # A softmax over one class would be 1 everywhere, and nothing could be learned from it.
    torch.manual_seed(0)
    spec = HeadSpec(("only",), ("rgb", "flow"), 8)
    head = build_head(method, spec, PRESETS[method][preset].head)
    got = head.activations(20 * torch.randn(40, spec.feature_width))
    assert got.localization.std() > 1e-4
    assert 0 < got.video_scores[0] < 1


def test_a_missing_stream_is_refused_by_name():
    spec = HeadSpec(("a",), ("flow",), 8)
    for method in ("aicl", "kinetics"):
        with pytest.raises(RecipeMismatch, match=r"needs the streams rgb, but these .* only flow"):
            build_head(method, spec)


@pytest.mark.parametrize("method", ["kinetics", *PRESETS])
def test_rgb_alone_is_enough_for_every_head(method):
    torch.manual_seed(0)
    spec = HeadSpec(("a", "b"), ("rgb",), 8)
    assert build_head(method, spec).activations(torch.randn(3, 8)).attention.shape == (3,)


@pytest.mark.parametrize("method", sorted(HEADS))
def test_what_each_stream_sees_is_told_by_heads_that_look_at_them_one_by_one(method):
    features = torch.randn(9, SPEC.feature_width)
    got = build(method).activations(features)
    assert list(got.stream_attention) == (["rgb", "flow"] if method == "aicl" else [])
    for values in got.stream_attention.values():
        assert values.shape == (9,)
        assert ((values >= 0) & (values <= 1)).all()
    if got.stream_attention:
        mean = np.mean(list(got.stream_attention.values()), axis=0)
        np.testing.assert_allclose(mean, got.attention, rtol=1e-6)


def test_an_unknown_head_is_refused_with_the_known_ones():
    with pytest.raises(ModelUnknown, match="aicl"):
        build_head("nonsense", SPEC)


def test_presets_belong_to_registered_heads():
    for method, presets in PRESETS.items():
        for name, preset in presets.items():
            assert preset.name == name
            assert isinstance(preset.head, HEADS[method].settings)


def test_selection_takes_the_highest_members_and_earlier_ties():
    ranking = torch.tensor([[3.0, 1.0, 3.0, 2.0, 9.0]])
    member = torch.tensor([[True, True, True, True, False]])
    got = top_selection(ranking, torch.tensor([1]), member)
    assert got.tolist() == [[True, False, False, False, False]]
    assert top_selection(ranking, torch.tensor([3]), member).sum() == 3
    assert top_selection(ranking, torch.tensor([9]), member).tolist() == member.tolist()


def test_topk_mean_agrees_with_sorting():
    sequence = torch.randn(3, 20, 4)
    mask = torch.arange(20)[None] < torch.tensor([20, 11, 1])[:, None]
    counts = snippet_counts(mask, 8)
    assert counts.tolist() == [2, 1, 1]
    got = topk_mean(sequence, counts, mask)
    for row, (length, count) in enumerate([(20, 2), (11, 1), (1, 1)]):
        best = sequence[row, :length].sort(dim=0, descending=True).values[:count]
        torch.testing.assert_close(got[row], best.mean(dim=0))


def test_median_split_agrees_with_numpy():
    sequence = torch.rand(4, 13)
    lengths = [13, 12, 2, 1]
    mask = torch.arange(13)[None] < torch.tensor(lengths)[:, None]
    got = above_own_median(sequence, mask)
    for row, length in enumerate(lengths):
        real = sequence[row, :length].double().numpy()
        assert got[row, :length].tolist() == (real > np.median(real)).tolist()
        assert not got[row, length:].any()


def test_attention_pooling_is_a_weighted_mean():
    sequence = torch.tensor([[[1.0], [3.0], [100.0]]])
    mask = torch.tensor([[True, True, False]])
    got = attention_pooling(sequence, torch.tensor([[1.0, 3.0, 5.0]]), mask)
    assert got.item() == pytest.approx(2.5)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd"):
        TemporalEmbedding(4, 4, 2)
