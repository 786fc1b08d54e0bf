import json
import os
import threading

import pytest
from sqlalchemy import select, text
from typer.testing import CliRunner

from service.errors import (
    BackupDamaged,
    ConfigurationError,
    DatabaseUnavailable,
    DataFolderBusy,
    SchemaNewer,
)
from service.jobs.commands import NewJob, create_job, open_core
from service.jobs.records import ContentRecord, JobRecord, Record, ResultRecord, VideoRecord
from service.jobs.removal import delete_job
from service.jobs.schema import copy_sqlite
from service.jobs.store import new_id, reading
from service.jobs.videos import NewContent, NewVideo
from service.operations.backup import BackupOptions, back_up
from service.operations.manifest import MANIFEST, read_manifest
from service.operations.restore import check, restore
from service.operations_cli import app
from service.settings import Settings
from service.storage import video_key

COPIES = BackupOptions(link=False)


@pytest.fixture
def live(settings):
    core = open_core(settings)
    yield core
    core.engine.dispose()


def upload(core, folder, content):
    """A job whose video's bytes are stored, as the API makes it."""
    video_id = new_id("vid")
    source = folder / video_id
    source.write_bytes(content)
    core.blobs.put_file(video_key(video_id), source)
    stored = NewContent(content.hex().ljust(64, "0")[:64], len(content), video_key(video_id))
    video = NewVideo(name="cam.mp4", content=stored, video_id=video_id)
    return create_job(core, NewJob(video=video, model="kinetag-demo@1"))[0].job.id


def missing_blobs(settings):
    core = open_core(settings)
    columns = (ContentRecord.blob_key, ResultRecord.activations_key, VideoRecord.thumbnails_key)
    with reading(core.engine) as session:
        keys = [key for one in columns for key in session.execute(select(one)).scalars() if key]
    core.engine.dispose()
    there = {key for prefix in ("videos", "results") for key, _ in core.blobs.keys(prefix)}
    return sorted(set(keys) - there), sorted(there - set(keys))


def test_every_reference_to_a_blob_is_followed():
    columns = {
        f"{table.name}.{column.name}"
        for table in Record.metadata.tables.values()
        for column in table.columns
        if column.name.endswith("_key")
    }
    no_blobs = {
        "jobs.idempotency_key",
        "batches.idempotency_key",
        "deliveries.event_key",
        # Numbers that stand for words in indexes.
        "segments.label_key",
        "segments.camera_key",
        "segments.tag_key",
    }
    assert columns - no_blobs <= {
        "contents.blob_key",
        "videos.blob_key",  # one of contents
        "videos.thumbnails_key",
        "results.activations_key",
    }, "a new blob has to be known to the backup and to the sweeper of orphans"


@pytest.mark.parametrize("options", [BackupOptions(), COPIES, BackupOptions(features=False)])
def test_a_backup_becomes_the_same_service_elsewhere(live, settings, tmp_path, options):
    job_id = upload(live, tmp_path, b"one")
    (settings.features_folder / "aa").mkdir(parents=True)
    (settings.features_folder / "aa" / "chunk").write_bytes(b"features")
    (settings.data_dir / "run").mkdir()
    (settings.data_dir / "run" / "secret").write_text("not kept")
    manifest = back_up(settings, tmp_path / "backup", options)
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700
    assert check(tmp_path / "backup") == manifest
    other = settings.model_copy(update={"data_dir": tmp_path / "other"})
    restore(tmp_path / "backup", other.data_dir)
    core = open_core(other)
    with reading(core.engine) as session:
        video = session.get_one(VideoRecord, session.get_one(JobRecord, job_id).video_id)
    assert core.blobs.get_bytes(str(video.blob_key)) == b"one"
    core.engine.dispose()
    assert (other.features_folder / "aa" / "chunk").exists() == options.features
    assert (other.data_dir / "models" / "kinetag-demo@1" / "card.json").exists()
    assert not (other.data_dir / "run").exists()


def test_what_is_linked_lies_on_the_disk_once(live, settings, tmp_path):
    upload(live, tmp_path, b"one")
    back_up(settings, tmp_path / "backup", BackupOptions())
    (blob,) = (tmp_path / "backup" / "videos").iterdir()
    assert blob.stat().st_nlink == 2
    card = tmp_path / "backup" / "models" / "kinetag-demo@1" / "card.json"
    assert card.stat().st_nlink == 1, "an editor may write into it"


def test_blobs_that_no_row_knows_are_left_out(live, settings, tmp_path):
    live.blobs.put_bytes("videos/orphan", b"x")
    live.blobs.put_bytes("results/job_gone/activations_1", b"x")
    back_up(settings, tmp_path / "backup", BackupOptions())
    assert [path for path in read_manifest(tmp_path / "backup").files if "/" in path] == [
        "models/kinetag-demo@1/card.json"
    ]


def test_no_row_lacks_its_blob_however_busy_the_service_is(live, settings, tmp_path):
    over = threading.Event()

    def be_busy(number):
        jobs = []
        while not over.is_set():
            jobs.append(upload(live, tmp_path, f"{number}-{len(jobs)}-{new_id('x')}".encode()))
            if len(jobs) % 3:
                delete_job(live, jobs.pop(0))

    threads = [threading.Thread(target=be_busy, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(4):
            back_up(settings, tmp_path / f"backup-{number}", BackupOptions())
    finally:
        over.set()
        for thread in threads:
            thread.join()
    for number in range(4):
        other = settings.model_copy(update={"data_dir": tmp_path / f"other-{number}"})
        restore(tmp_path / f"backup-{number}", other.data_dir)
        assert missing_blobs(other) == ([], [])


def test_a_row_without_its_blob_is_said(live, settings, tmp_path):
    upload(live, tmp_path, b"one")
    for path in (settings.data_dir / "videos").iterdir():
        path.unlink()
    with pytest.raises(Exception, match="videos/vid_"):
        back_up(settings, tmp_path / "backup", BackupOptions())
    with pytest.raises(BackupDamaged, match="broken off"):
        restore(tmp_path / "backup", tmp_path / "other")


@pytest.fixture
def backup(live, settings, tmp_path):
    upload(live, tmp_path, b"one")
    back_up(settings, tmp_path / "backup", COPIES)
    return tmp_path / "backup"


def change_list(backup, change):
    document = json.loads((backup / MANIFEST).read_text())
    change(document)
    (backup / MANIFEST).write_text(json.dumps(document))


def video_of(backup):
    return next((backup / "videos").iterdir())


DAMAGES = {
    "a byte": lambda backup: video_of(backup).write_bytes(b"two"),
    "a missing file": lambda backup: video_of(backup).unlink(),
    "a link": lambda backup: (video_of(backup).unlink(), video_of_link(backup)),
    "no list": lambda backup: (backup / MANIFEST).unlink(),
    "half a list": lambda backup: (backup / MANIFEST).write_text('{"format": 1, "files": '),
    "another format": lambda backup: change_list(backup, lambda one: one.update(format=2)),
    "no format": lambda backup: change_list(backup, lambda one: one.pop("format")),
    "a way out": lambda backup: change_list(
        backup, lambda one: one["files"].update({"../out": {"size_bytes": 0, "sha256": ""}})
    ),
    "an absolute path": lambda backup: change_list(
        backup, lambda one: one["files"].update({"/etc/x": {"size_bytes": 0, "sha256": ""}})
    ),
    "files of another kind": lambda backup: change_list(backup, lambda one: one.update(files=[1])),
}


def video_of_link(backup):
    name = next(name for name in read_manifest(backup).files if name.startswith("videos/"))
    (backup / name).symlink_to("/etc/passwd")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_backup_restores_nothing(backup, tmp_path, damage):
    damage(backup)
    with pytest.raises(BackupDamaged):
        check(backup)
    with pytest.raises(BackupDamaged):
        restore(backup, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    (tmp_path / "mounted").mkdir()
    with pytest.raises(BackupDamaged):
        restore(backup, tmp_path / "mounted")
    assert list((tmp_path / "mounted").iterdir()) == []


def test_folders_in_use_are_refused(backup, settings, tmp_path):
    with pytest.raises(ConfigurationError, match="not empty"):
        restore(backup, settings.data_dir)
    with pytest.raises(ConfigurationError, match="not empty"):
        back_up(settings, backup, COPIES)
    (settings.data_dir / "run").mkdir()
    with (settings.data_dir / "run" / "up.lock").open("w") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataFolderBusy, match="stop it first"):
            restore(backup, settings.data_dir)


def test_a_backup_lies_outside_of_what_it_backs_up(live, settings, tmp_path):
    (tmp_path / "link").symlink_to(settings.data_dir)
    for target in (settings.data_dir, settings.data_dir / "a" / "b", tmp_path / "link" / "c"):
        with pytest.raises(ConfigurationError, match="inside the data folder"):
            back_up(settings, target, COPIES)


def test_a_copy_that_finds_no_space_is_said(live, tmp_path):
    with pytest.raises(DatabaseUnavailable, match="free disk space"):
        copy_sqlite(live.engine, tmp_path / "no" / "such" / "folder.db")


def test_a_backup_of_a_newer_version_is_refused(backup, tmp_path):
    change_list(backup, lambda document: document.update(schema="9999"))
    with pytest.raises(SchemaNewer):
        restore(backup, tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"database_url": "postgresql://somewhere/kinetag"}, "pg_dump"),
        ({"storage_url": "s3://bucket"}, "bucket"),
    ],
)
def test_what_lies_elsewhere_is_not_copied(tmp_path, change, words):
    settings = Settings(data_dir=tmp_path, **change)
    with pytest.raises(ConfigurationError, match=words):
        back_up(settings, tmp_path / "backup", COPIES)


def test_the_commands_say_what_they_did(settings, live, tmp_path):
    upload(live, tmp_path, b"one")
    run = CliRunner()
    folder, data = str(tmp_path / "backup"), str(settings.data_dir)
    done = run.invoke(app, ["backup", folder, "--data", data])
    assert (done.exit_code, "files" in done.output) == (0, True), done.output
    assert run.invoke(app, ["restore", folder, "--check"]).exit_code == 0
    other = run.invoke(app, ["restore", folder, "--data", str(tmp_path / "other")])
    assert "restored" in other.output
    refused = run.invoke(app, ["restore", folder, "--data", str(tmp_path / "other")])
    assert (refused.exit_code, "[invalid_configuration]" in refused.output) == (2, True)
    upgraded = run.invoke(app, ["upgrade", "--data", str(tmp_path / "other")])
    assert (upgraded.exit_code, "already" in upgraded.output) == (0, True)
    assert os.listdir(tmp_path / "other" / "videos")  # noqa: PTH208 - names are enough


def test_a_database_of_a_newer_version_is_left_alone(live, settings):
    with live.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_future'"))
    for act in (lambda: open_core(settings), lambda: back_up(settings, settings.data_dir, COPIES)):
        with pytest.raises(SchemaNewer, match="9999_future") as refusal:
            act()
        assert refusal.value.code == "schema_newer"
