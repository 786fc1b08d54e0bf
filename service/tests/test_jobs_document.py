"""docs/jobs.md: its commands run as they stand, and its tables name what there is."""

import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from service.api.jobbodies import JobOptions, JobWish
from service.api.schemas import JobBody, JobLinks
from service.jobs.commands import open_core
from service.jobs.events import PUBLIC_DETAILS
from service.jobs.lifecycle import Plan
from service.jobs.queue import TaskQueue

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "jobs.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.S)


def do_one_job(core, native):
    """Do the first job as a worker would; the second, in the queue of batches, is left waiting."""
    queue = TaskQueue(core.engine)
    task = queue.claim(owner="w", lease_seconds=60)
    queue.complete_plan(task.id, task.token, Plan(1, {}, {0}))
    threading.Event().wait(1.0)
    join = queue.claim(owner="w", lease_seconds=60)
    queue.complete_join(join.id, join.token, result=native)


def run(script, folder):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.mark.skipif(not (shutil.which("jq") and shutil.which("curl")), reason="needs jq and curl")
def test_the_commands_run_as_they_stand(live_server, settings, native, tmp_path):
    (tmp_path / "cam3.mp4").write_bytes(b"video")
    address, first, *rest = BLOCKS
    address = address.replace("127.0.0.1:8000", "{}:{}".format(*live_server))
    known = address + "JOB=$(jq -r .id job.json)\n"
    run(address + first, tmp_path)
    core = open_core(settings)
    worker = threading.Thread(target=do_one_job, args=(core, native))
    worker.start()
    told = run(known + "\n".join(rest), tmp_path)
    worker.join(20)
    core.engine.dispose()
    assert "event: job.succeeded" in told
    assert '"retry_of":"job_' in told


def test_the_tables_name_what_there_is():
    named = set(re.findall(r"`([a-z_.0-9]+)`", DOCUMENT))
    assert set(JobOptions.model_fields) - {"nms"} <= named
    assert set(JobWish.model_fields) <= named
    assert set(JobBody.model_fields) <= named
    assert set(JobLinks.model_fields) <= named
    assert set(PUBLIC_DETAILS) <= named
