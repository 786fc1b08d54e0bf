"""Batches with several hands at once: clients with one key, sweepers with one batch."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select, update

from service.batches import commands, views
from service.batches.commands import NewBatch, NewItem
from service.batches.feeding import FeedLimits, feed_batches
from service.batches.states import ItemKind
from service.jobs.records import EventRecord, JobRecord, VideoRecord
from service.jobs.store import reading, transaction

MODEL = "kinetag-demo@1"
HANDS = 6


def _items(count):
    return tuple(
        NewItem(f"{index}.mp4", ItemKind.URL, source=f"http://example.com/{index}.mp4")
        for index in range(count)
    )


def _together(act):
    with ThreadPoolExecutor(HANDS) as pool:
        return [one.result() for one in [pool.submit(act) for _ in range(HANDS)]]


def test_one_key_from_many_clients_is_one_batch(core):
    new = NewBatch(MODEL, _items(3), idempotency_key="once")
    made = _together(lambda: commands.create_batch(core, new))
    assert len({batch_id for batch_id, _ in made}) == 1
    assert sum(is_new for _, is_new in made) == 1
    assert len(views.list_batches(core, page_size=10, page_token=None).views) == 1


def _end_some_jobs(core):
    with transaction(core.engine) as session:
        session.execute(
            update(JobRecord)
            .where(JobRecord.status == "queued")
            .values(status="succeeded", completed_at=core.clock.now(session))
            .execution_options(synchronize_session=False)
        )


def test_many_sweepers_make_each_job_once_and_tell_of_the_end_once(core):
    count = 120
    batch_id, _ = commands.create_batch(core, NewBatch(MODEL, _items(count)))
    limits = FeedLimits(open_jobs=40)

    def sweep():
        for _ in range(6):
            feed_batches(core, limits)
            _end_some_jobs(core)
        feed_batches(core, limits)

    _together(sweep)
    view = views.get_batch(core, batch_id)
    assert view.batch.status == "finished"
    assert view.progress.counts["succeeded"] == count
    with reading(core.engine) as session:
        for table in (JobRecord, VideoRecord):
            assert session.scalar(select(func.count()).select_from(table)) == count
        told = select(func.count()).where(EventRecord.type == "batch.finished")
        assert session.scalar(told) == 1
