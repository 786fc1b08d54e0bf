"""The simulation against what can be said without one."""

from typing import Any

import pytest

from bench.scaling import Job, Simulation, Stages, mixed_videos, simulate
from bench.scaling_document import MARKER, write_figures

FREE = Stages(
    chunk=10.0, claim=0.0, complete=0.0, heartbeat=0.0, opening=0.0, opening_per_hour=0.0,
    joining=0.0, joining_per_hour=0.0,
)  # fmt: skip


def stages(**changes):
    return Stages(**{name: changes.get(name, getattr(FREE, name)) for name in FREE.__slots__})


def run(costs, hours, num_workers):
    return Simulation(costs, [Job(one) for one in hours], num_workers).run()


@pytest.mark.parametrize("num_workers", [1, 2, 7])
def test_free_transactions_leave_only_the_chunks(num_workers):
    outcome = run(FREE, [1.0] * 20, num_workers)
    num_chunks = 20 * 57
    assert outcome.chunk == pytest.approx(num_chunks * 10.0, rel=0.02)
    assert outcome.makespan >= outcome.chunk / num_workers - 1e-9
    assert outcome.makespan <= outcome.chunk / num_workers + 20.0
    assert sum(outcome.shares().values()) == pytest.approx(1.0)


def test_parts_that_nobody_shares_bound_the_speed_up():
    """Plan and join are one worker's: no number of others makes them shorter."""
    outcome = run(stages(opening_per_hour=3.0, joining_per_hour=2.0, joining=1.0), [10.0], 500)
    # Two openings in a row (the plan's, then everybody else's), one chunk, the join.
    assert 30.0 + 30.0 + 20.0 + 1.0 <= outcome.makespan <= 30.0 + 30.0 + 50.0 + 40.0


def test_transactions_exclude_each_other():
    costs = stages(chunk=0.001, claim=1.0, complete=0.5)
    alone, many = run(costs, [2.0], 1), run(costs, [2.0], 32)
    num_tasks = 113 + 2
    assert many.makespan >= num_tasks * 1.5
    assert alone.makespan / many.makespan < 1.1
    assert many.database_busy <= many.makespan + 32.0, "the last claims find nothing"


def test_every_job_ends_and_more_workers_are_never_slower_by_much():
    costs = stages(claim=0.004, complete=0.004, heartbeat=0.002, opening=0.5, joining=0.3)
    before = None
    for num_workers in (1, 4, 32):
        jobs = mixed_videos()[:40]
        outcome = Simulation(costs, jobs, num_workers).run()
        assert all(job.ended for job in jobs)
        assert before is None or outcome.makespan <= before * 1.01
        before = outcome.makespan


def test_same_seed_same_figures():
    assert simulate(stages(chunk=2.0)) == simulate(stages(chunk=2.0))


def test_page_keeps_what_stands_above_its_marker(tmp_path):
    names = ("one_worker", "two_workers", "alone_chunk", "beside_chunk", "alone_plan", "alone_join",
             "alone_pause", "claim", "complete", "heartbeat", "opening")  # fmt: skip
    measured: dict[str, Any] = {f"{name}_seconds": 2.0 for name in names}
    measured |= {"ratio_two_workers": 1.9, "chunks_per_worker": [[4, 4]], "load_average": 0.5}
    measured |= {f"{name}_seconds_per_video_hour": 1.0 for name in ("opening", "joining")}
    machine = {"processor": "p", "num_processors": 2}
    spread = {"figures": measured, "machine": machine, "source": "a video"}
    page = tmp_path / "page.md"
    page.write_text(f"by hand\n\n{MARKER}\n\nold")
    for _ in range(2):
        write_figures(page, spread, {"some": simulate(stages(chunk=2.0))})
        text = page.read_text()
        assert text.startswith(f"by hand\n\n{MARKER}\n")
        assert "old" not in text
        assert text.count("**1.90**") == text.count("### Simulated: some") == 1
    page.write_text("no marker")
    with pytest.raises(ValueError, match="no line"):
        write_figures(page, spread, {})
