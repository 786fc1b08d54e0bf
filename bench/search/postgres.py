"""A private PostgreSQL for a bench, gone at its end."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "kinetag"
START_SECONDS = 60.0


class NoPostgres(Exception):
    """There is no PostgreSQL on this machine, or it did not start."""


@contextmanager
def private_postgres() -> Iterator[str]:
    """Run a server with its own settings, as a package installs it; yield a database's address.

    Raises:
        NoPostgres: there is none, or it did not start.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if not found:
        message = "There is no PostgreSQL below /usr/lib/postgresql."
        raise NoPostgres(message)
    programs = found[0].parent
    folder = Path(tempfile.mkdtemp(prefix="kinetag-bench-pg-"))
    as_user: list[str | Path] = []
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")  # PostgreSQL refuses to run as root
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        as_user = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}"]
        as_user += ["--clear-groups", "--pdeathsig=KILL"]
    data = folder / "data"
    initdb = [*as_user, programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8"]
    server = [*as_user, programs / "postgres", "-D", data, "-c", "listen_addresses="]
    server += ["-c", f"unix_socket_directories={folder}"]
    try:
        subprocess.run([*initdb, "--no-sync"], check=True, capture_output=True, cwd="/")  # noqa: S603 - our own
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(server, stdout=log, stderr=log, cwd="/")  # noqa: S603 - our own
        try:
            _wait(f"host={folder} user={USER} dbname=postgres", process)
            yield f"postgresql://{USER}@/postgres?host={folder}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(START_SECONDS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(here: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(here).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                message = "PostgreSQL did not start."
                raise NoPostgres(message) from error
            time.sleep(0.1)
        else:
            return
