"""`kinetag doctor`: end to end without the benchmark; broker and data folder from drawn cases."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from models.doctor.processes import ProbeProcess
from service.settings import Settings
from workers import doctor, doctor_bridges, doctor_deployment
from workers.broker import BrokerServer

REPOSITORY = Path(__file__).parents[2]
KEYS = {
    "format", "kinetag", "usable", "cores", "memory", "instruction_set", "flow", "gpu",
    "precision", "sandbox", "versions", "models", "broker", "bridges", "data_folder", "benchmark",
    "estimate", "problems",
}  # fmt: skip


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kinetag", "doctor", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120, check=False
    )


def test_quick_json_end_to_end(tmp_path):
    done = run("--quick", "--json", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert set(document) == KEYS
    assert document["usable"] is True
    assert document["benchmark"] is None
    assert document["cores"]["usable"] >= 1
    assert document["models"]["demo_problem"] is None
    assert document["data_folder"]["writable"] is True


def test_plain_lines_are_aligned_and_one_per_finding(tmp_path):
    done = run("--quick", "--data", str(tmp_path / "later"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "Kinetag is usable here."
    findings = [line for line in lines[:-1] if not line.startswith(("error:", "warning:"))]
    column = len("optical flow") + 2
    assert all(line[column - 1] == " " and line[column] != " " for line in findings)
    assert not (tmp_path / "later").exists()  # looking must not leave anything behind


def test_a_torch_that_dies_is_a_finding_and_exit_one(tmp_path, capsys):
    def start(name, arguments):
        if name == "torch":
            crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
            return ProbeProcess(name, arguments, command=(sys.executable, "-c", crash))
        return ProbeProcess(name, arguments)

    status = doctor.run_doctor(Settings(data_dir=tmp_path), quick=False, as_json=True, start=start)
    document = json.loads(capsys.readouterr().out)
    assert status == 1
    assert document["usable"] is False
    first = document["problems"][0]
    assert (first["code"], first["severity"]) == ("torch_unusable", "error")
    assert "SIGSEGV" in first["message"]
    assert document["flow"]["works"] is True


def test_every_code_is_documented():
    text = (REPOSITORY / "docs" / "doctor.md").read_text()
    sources = [*(REPOSITORY / "models" / "doctor").glob("*.py"), Path(doctor_deployment.__file__)]
    codes = {
        line.split('Problem("')[1].split('"')[0]
        for source in sources
        for line in source.read_text().splitlines()
        if 'Problem("' in line
    }
    assert len(codes) > 10
    assert {code for code in codes if f"`{code}`" not in text} == set()
    assert {key for key in KEYS if f"`{key}`" not in text} == set()


def test_brokers(monkeypatch, tmp_path):
    broken, good = tmp_path / "broken", tmp_path / "good"
    broken.write_text("#!/bin/sh\nexit 1\n")
    good.write_text("#!/bin/sh\necho 'Valkey server v=9.1.2 sha=0 bits=64'\n")
    for program in (broken, good):
        program.chmod(0o755)
    servers = [BrokerServer("valkey", broken), BrokerServer("system", good)]
    monkeypatch.setattr(doctor_deployment, "find_servers", lambda choice: servers)
    found = doctor_deployment.examine_broker(Settings(data_dir=tmp_path))
    assert (found["kind"], found["version"]) == ("system", "9.1.2")
    monkeypatch.setattr(doctor_deployment, "find_servers", lambda choice: servers[:1])
    found = doctor_deployment.examine_broker(Settings(data_dir=tmp_path))
    assert found["kind"] == "none"


def test_bridges_that_do_not_get_through_are_told_without_their_logins(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        settings = Settings(
            data_dir=tmp_path,
            mqtt_url="mqtt://kim:hush@127.0.0.1:1",
            grafana_url=f"http://127.0.0.1:{port}/sub",
        )
        found = doctor_bridges.examine_bridges(settings)
    assert found == [
        {"name": "mqtt", "host": "127.0.0.1:1", "reachable": False},
        {"name": "grafana", "host": f"127.0.0.1:{port}", "reachable": True},
    ]
    (problem,) = doctor_bridges.bridge_problems(found)
    assert problem.code == "bridge_unreachable"
    assert "KINETAG_MQTT_URL" in problem.message
    said = [sentence for _, sentence in doctor_bridges.bridge_lines(found)]
    assert said == ["mqtt: 127.0.0.1:1 does not answer", f"grafana: 127.0.0.1:{port} answers"]
    assert "hush" not in str(found)
    assert doctor_bridges.examine_bridges(Settings(data_dir=tmp_path)) == []


def test_a_configured_broker_is_told_without_its_password(tmp_path):
    settings = Settings(data_dir=tmp_path, broker_url="redis://:hush@127.0.0.1:1/0")
    found = doctor_deployment.examine_broker(settings)
    assert found["reachable"] is False
    assert "hush" not in json.dumps(found)
    folder = doctor_deployment.examine_data_folder(settings)
    document = {"broker": found, "data_folder": folder}
    assert [one.code for one in doctor_deployment.deployment_problems(document)] == [
        "broker_unreachable"
    ]
    assert all("hush" not in line for _, line in doctor_deployment.deployment_lines(document))


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"writable": False}, "data_folder_unwritable"),
        ({"free_bytes": 1, "floor_bytes": 2}, "disk_low"),
        ({"one_file_system": False}, "data_folder_split"),
        ({"file_system": "nfs4"}, "data_folder_remote"),
    ],
)
def test_problems_of_the_data_folder(tmp_path, values, code):
    settings = Settings(data_dir=tmp_path)
    folder = doctor_deployment.examine_data_folder(settings)
    document = {"broker": doctor_deployment.examine_broker(settings), "data_folder": folder}
    folder.update(free_bytes=10, floor_bytes=1, file_system="ext4")
    assert doctor_deployment.deployment_problems(document) == []
    folder.update(values)
    (problem,) = doctor_deployment.deployment_problems(document)
    assert problem.code == code


def test_the_file_system_is_that_of_the_longest_mount():
    mounts = "a / ext4 rw 0 0\nb /data nfs4 rw 0 0\nc /data/my\\040disk xfs rw 0 0\n"
    for path, expected in (("/srv", "ext4"), ("/data/x", "nfs4"), ("/data/my disk/x", "xfs")):
        assert doctor_deployment.file_system_type(Path(path), mounts) == expected
    assert doctor_deployment.file_system_type(Path("/srv"), "") is None
