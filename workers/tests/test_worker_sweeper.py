"""The sweeper's duties keep their own pace and do not stand in each other's way."""

import os
from itertools import pairwise
from pathlib import Path

from kombu.exceptions import OperationalError

from service.errors import DatabaseUnavailable
from workers.sweeper import Duty, HintRelay, Sweeper, remove_stale_temporaries


def test_each_duty_keeps_its_own_pace():
    now = [0.0]
    done = []
    sweeper = Sweeper(
        [
            Duty("fast", 1.0, lambda: done.append("fast")),
            Duty("slow", 5.0, lambda: done.append("slow")),
        ],
        clock=lambda: now[0],
    )
    waits = []
    for _ in range(11):
        waits.append(sweeper.sweep())
        now[0] += 1.0
    assert done.count("fast") == 11
    assert done.count("slow") == 3
    assert waits[0] == 1.0


def test_failing_duty_does_not_keep_the_next_from_its_turn():
    done = []

    def away():
        raise DatabaseUnavailable("away")

    sweeper = Sweeper([Duty("first", 1.0, away), Duty("second", 1.0, lambda: done.append(1))])
    sweeper.sweep()
    assert done == [1]


def test_a_bug_in_one_duty_stops_no_other():
    done = []

    def crash():
        raise KeyError

    sweeper = Sweeper([Duty("first", 1.0, crash), Duty("second", 1.0, lambda: done.append(1))])
    sweeper.sweep()
    assert done == [1]


def test_services_run_as_long_as_the_sweeper():
    class Service:
        def __init__(self):
            self.calls = []

        def start(self):
            self.calls.append("start")

        def stop(self):
            self.calls.append("stop")

    services = [Service(), Service()]
    with Sweeper([Duty("idle", 1.0, lambda: None)], services=services) as sweeper:
        assert sweeper.sweep() <= 1.0
        assert [service.calls for service in services] == [["start"]] * 2
    assert [service.calls for service in services] == [["start", "stop"]] * 2


class Broker:
    def __init__(self):
        self.away = False
        self.sent = []

    def publish(self, ids):
        if self.away:
            raise OperationalError("refused")
        self.sent.extend(ids)


def test_hints_are_marked_only_after_they_were_sent():
    now = [0.0]
    marked: list[str] = []
    broker, due = Broker(), ["task_1", "task_2"]
    relay = HintRelay(lambda limit: list(due), broker.publish, marked.extend, clock=lambda: now[0])
    broker.away = True
    assert relay.relay() == 0
    assert marked == []
    broker.away = False
    assert relay.relay() == 0, "the broker is left alone for a moment"
    now[0] = 1.1
    assert relay.relay() == 2
    assert marked == broker.sent == ["task_1", "task_2"]


def test_pause_grows_while_the_broker_stays_away_and_is_capped():
    now = [0.0]
    broker = Broker()
    broker.away = True
    tries = []

    def publish(ids):
        tries.append(now[0])
        broker.publish(ids)

    relay = HintRelay(lambda limit: ["task_1"], publish, lambda ids: None, clock=lambda: now[0])
    for _ in range(200):
        relay.relay()
        now[0] += 1.0
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[:4] == [1.0, 2.0, 4.0, 8.0]
    assert max(gaps) == 30.0


def test_only_stale_temporaries_go(tmp_path: Path):
    now = 1_000_000.0
    old, young, folder = tmp_path / "old", tmp_path / "young", tmp_path / "folder"
    old.touch()
    young.touch()
    (folder / "inner").mkdir(parents=True)
    outside = tmp_path.parent / "outside"
    outside.mkdir(exist_ok=True)
    link = tmp_path / "link"
    link.symlink_to(outside)
    for path in (old, folder):
        os.utime(path, (now - 90_000, now - 90_000))
    os.utime(link, (now - 90_000, now - 90_000), follow_symlinks=False)
    os.utime(young, (now - 60, now - 60))
    assert remove_stale_temporaries(tmp_path, now) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["young"]
    assert outside.is_dir()
    assert remove_stale_temporaries(tmp_path / "absent", now) == 0
