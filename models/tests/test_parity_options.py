"""Options of the decoder that only published post-processing uses, against direct readings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.config import NmsSettings, OicSettings, ProposalSettings
from models.localize.oic import outer_inner_contrast
from models.localize.proposals import runs_above, widened
from models.localize.segments import localize_activations
from models.timegrid import TimeGrid
from models.types import Activations

EVERYTHING = NmsSettings(threshold=2.0)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 25))
def test_widening_is_dilation_of_the_mask(inside, window):
    """A sample is inside if any run sample lies within the window around it."""
    runs = runs_above(np.array(inside, np.float64), 0.5)
    before, after = window // 2, (window - 1) // 2
    dilated = np.zeros(len(inside))
    for place, here in enumerate(inside):
        if here:
            dilated[max(0, place - before) : place + after + 1] = 1
    got = widened(runs, window, len(inside))
    assert got.tolist() == runs_above(dilated, 0.5).tolist()


@given(
    st.lists(st.floats(0, 1, width=32), min_size=3, max_size=30),
    st.data(),
    st.sampled_from([0.2, 0.25, 1.0]),
)
def test_the_trailing_sample_is_scored_as_rskp_does(values, data, ratio):
    start = data.draw(st.integers(0, len(values) - 2))
    stop = data.draw(st.integers(start + 1, len(values)))
    length = stop - start
    inner = values[start : stop + 1]
    left = max(0, int(start - ratio * length))
    right = min(len(values) - 1, int(stop + ratio * length + 1))
    outer = values[left:start] + values[stop + 1 : right]
    expected = sum(inner) / len(inner) - (sum(outer) / len(outer) if outer else 0.0)
    settings = OicSettings(margin_ratio=ratio, class_bonus=0.0, trailing_sample=True)
    runs, scores = np.array([[start, stop]]), np.zeros(1)
    got = outer_inner_contrast(np.array(values, np.float32), runs, scores, settings)
    np.testing.assert_allclose(got[0], expected, atol=1e-9)


def seen(localization, attention, score=0.5):
    curve = np.array(localization, np.float32)[:, None]
    return Activations(
        curve, curve, np.array([score], np.float32), np.array(attention, np.float32), ("a",)
    )


def test_cuts_of_the_attention_add_runs_scored_on_the_uncut_sequence():
    grid = TimeGrid(25.0, 16, 16, 6 * 0.64)
    activations = seen([0.2, 0.2, 0.9, 0.2, 0.2, 0.2], [0.0, 0.8, 0.8, 0.8, 0.0, 0.0])
    settings = ProposalSettings(
        thresholds=(0.5,),
        attention_thresholds=(0.5,),
        align="start",
        upsample=1,
        oic=OicSettings(margin_ratio=0.5, class_bonus=0.0, thresholded=True),
        nms=EVERYTHING,
    )
    found = localize_activations(activations, grid, settings)
    steps = {
        (round(p.start_seconds / 0.64), round(p.end_seconds / 0.64)): p.raw_score for p in found
    }
    assert set(steps) == {(2, 3), (1, 4)}
    np.testing.assert_allclose(steps[2, 3], 0.9, rtol=1e-6)  # its margins are below the cut
    np.testing.assert_allclose(steps[1, 4], 1.3 / 3 - 0.2, rtol=1e-6)


def test_a_binary_bonus_counts_every_localized_class_as_certain():
    grid = TimeGrid(25.0, 16, 16, 6 * 0.64)
    activations = seen([0.0, 0.0, 0.9, 0.0, 0.0, 0.0], np.zeros(6), score=0.3)
    scores = []
    for binary in (False, True):
        oic = OicSettings(class_bonus=0.2, binary_bonus=binary)
        settings = ProposalSettings(thresholds=(0.5,), upsample=1, align="start", oic=oic)
        (found,) = localize_activations(activations, grid, settings)
        scores.append(found.raw_score)
    np.testing.assert_allclose(scores[1] - scores[0], 0.2 * 0.7, rtol=1e-5)
