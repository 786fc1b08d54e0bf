"""The demonstration's results are those of the first release, however much faster they come."""

import json
from pathlib import Path

import pytest

from models.pipeline import load_localizer, localize_video, model_folders
from models.synthetic import VideoSpec, draw_frames, encode_video, plan_video

pytest.importorskip("models.flow._tvl1", reason="the native kernel was not built")

RELEASED = json.loads((Path(__file__).parent / "first_release" / "demo.json").read_text())
SNIPPET_SECONDS = 16 / 25
SCORE_TOLERANCE = 0.02


@pytest.fixture(scope="module")
def localizer(tmp_path_factory):
    return load_localizer("kinetag-demo", model_folders(tmp_path_factory.mktemp("home")))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [658549, 433746])
def test_segments_agree_with_the_first_release(tmp_path, localizer, seed):
    plan = plan_video(VideoSpec(seed=seed, duration_seconds=60.0, looks="test"))
    # Not H.264: its encoder does not give the same bytes twice.
    path = tmp_path / "demo.webm"
    encode_video(draw_frames(plan), path, fps=plan.spec.fps, codec="vp9")
    left = list(localize_video(localizer, path).segments)
    for label, start, end, score in RELEASED["segments"][str(seed)]:
        match = min(
            (one for one in left if one.label == label),
            key=lambda one: abs(one.start_seconds - start) + abs(one.end_seconds - end),
        )
        left.remove(match)
        assert match.start_seconds == pytest.approx(start, abs=SNIPPET_SECONDS)
        assert match.end_seconds == pytest.approx(end, abs=SNIPPET_SECONDS)
        assert match.score == pytest.approx(score, abs=SCORE_TOLERANCE)
    assert not left
