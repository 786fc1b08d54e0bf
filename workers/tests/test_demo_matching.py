"""The demonstration pairs instances and segments fairly."""

from models.synthetic import Instance
from workers.demo import match_instances


def segment(label, start, end):
    return {"label": label, "start": start, "end": end, "score": 0.5}


def test_best_overlap_wins_and_each_side_is_used_once():
    instances = [Instance("walk", 0.0, 4.0), Instance("walk", 3.0, 8.0)]
    segments = [segment("walk", 3.0, 7.5), segment("walk", 0.0, 3.0)]
    matches, extra = match_instances(instances, segments)
    assert [match.segment for match in matches] == [segments[1], segments[0]]
    assert [round(match.tiou, 3) for match in matches] == [0.75, 0.9]
    assert extra == []


def test_another_label_never_matches():
    matches, extra = match_instances([Instance("walk", 0.0, 4.0)], [segment("run", 0.0, 4.0)])
    assert matches[0].segment is None
    assert matches[0].tiou == 0.0
    assert len(extra) == 1


def test_touching_intervals_do_not_overlap():
    matches, _ = match_instances([Instance("walk", 0.0, 4.0)], [segment("walk", 4.0, 8.0)])
    assert matches[0].segment is None


def test_nothing_found_and_nothing_there():
    assert match_instances([], []) == ([], [])
