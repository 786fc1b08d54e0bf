"""Dockerfile and docker-compose.yml, parsed and checked by rule, since no engine may be at hand."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SECRET = re.compile(r"(password|secret|token|api_?key)", re.IGNORECASE)
PINNED = re.compile(r"^[\w./-]+:\d+\.\d+[\w.-]*$")


@dataclass
class Stage:
    """One FROM and what follows it."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, instruction: str) -> list[str]:
        return [rest for word, rest in self.steps if word == instruction]


def parse_dockerfile(text: str) -> tuple[list[tuple[str, str]], list[Stage]]:
    """Split a Dockerfile into what stands before the first FROM, and its stages."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    before: list[tuple[str, str]] = []
    stages: list[Stage] = []
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        word, _, rest = line.partition(" ")
        assert word.isupper(), f"not an instruction: {line}"
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base.strip(), name.strip()))
        else:
            (stages[-1].steps if stages else before).append((word, rest.strip()))
    return before, stages


TEXT = (ROOT / "Dockerfile").read_text()
BEFORE, STAGES = parse_dockerfile(TEXT)
BY_NAME = {stage.name: stage for stage in STAGES}


def _lineage(stage: Stage) -> list[Stage]:
    """The stage and the stages it is built on, nearest first."""
    chain = [stage]
    while chain[-1].base in BY_NAME:
        chain.append(BY_NAME[chain[-1].base])
    return chain


def _inherited(stage: Stage, instruction: str) -> list[str]:
    return [rest for one in reversed(_lineage(stage)) for rest in one.of(instruction)]


def _compose(text: str | None = None) -> dict[str, Any]:
    content = yaml.safe_load(text or (ROOT / "docker-compose.yml").read_text())
    assert isinstance(content, dict)
    return content


COMPOSE = _compose()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("api", "worker", "worker-gpu", "sweeper")


def test_the_parser_reads_stages_comments_and_continuations():
    before, stages = parse_dockerfile(
        "ARG A=b\nFROM x AS y\n# note\nRUN one \\\n  # inner\n  && two\nFROM y\nUSER z\n"
    )
    assert before == [("ARG", "A=b")]
    assert [(one.base, one.name) for one in stages] == [("x", "y"), ("y", "")]
    assert [shlex.split(rest) for rest in stages[0].of("RUN")] == [["one", "&&", "two"]]
    assert stages[1].steps == [("USER", "z")]


def test_the_base_image_is_pinned_and_the_only_foreign_one():
    assert BEFORE == [("ARG", "PYTHON_IMAGE=python:3.12-slim-bookworm")]
    foreign = [stage.base for stage in STAGES if stage.base not in BY_NAME]
    assert foreign == ["${PYTHON_IMAGE}"]
    assert ":latest" not in TEXT


def test_the_two_targets_exist_and_end_as_a_plain_user():
    for name, command in (("api", ["kinetag", "api"]), ("worker", ["kinetag", "worker"])):
        stage = BY_NAME[name]
        user, group = map(int, _inherited(stage, "USER")[-1].split(":"))
        assert user > 999
        assert group > 999
        assert f"--uid {user} " in " ".join(_inherited(stage, "RUN"))
        assert _inherited(stage, "CMD")[-1] == str(command).replace("'", '"')
        assert len(stage.of("HEALTHCHECK")) == 1
        words = [word for word, _ in stage.steps]
        assert "RUN" not in words[words.index("USER") :]


def test_stages_are_named_once_and_copies_come_from_existing_stages():
    assert len(BY_NAME) == len(STAGES)
    for stage in STAGES:
        for rest in stage.of("COPY"):
            source = re.match(r"--from=(\S+)", rest)
            assert source is None or source[1] in BY_NAME


def _copied_from_context() -> list[str]:
    sources = []
    for stage in STAGES:
        for rest in stage.of("COPY"):
            if not rest.startswith("--from="):
                sources += rest.split()[:-1]
    return sources


def test_everything_copied_exists_and_is_let_into_the_build_context():
    sources = _copied_from_context()
    assert {"kinetag.py", "models", "requirements/base.txt"} <= set(sources)
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    }
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.partition("/")[0] in allowed, source


def test_the_build_context_is_an_allow_list():
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*"
    for name in (".git", ".venv", ".cache", ".env", ".kinetag"):
        assert f"!{name}" not in rules


def test_packages_are_installed_by_hash_or_from_our_own_wheel():
    commands = [
        part
        for stage in STAGES
        for rest in stage.of("RUN")
        for part in rest.split("&&")
        if re.search(r"pip (install|wheel)", part)
    ]
    assert len(commands) >= 6
    for command in commands:
        own = "/wheels" in command and "--no-deps" in command
        assert own or "--require-hashes" in command, command
        assert "--index" not in command
        assert "--trusted-host" not in command


def test_the_api_image_never_sees_the_worker_lock():
    seen = {
        rest
        for name in ("api", "api-environment")
        for stage in _lineage(BY_NAME[name])
        for _, rest in stage.steps
    }
    assert any("base.txt" in rest for rest in seen)
    assert not any("worker" in rest or "torch" in rest for rest in seen)


def test_an_image_without_the_native_kernel_is_refused():
    assert any("grep -q 'models/flow/_tvl1'" in rest for rest in BY_NAME["build"].of("RUN"))


def test_apt_leaves_no_lists_and_takes_no_recommendations():
    for stage in STAGES:
        for rest in stage.of("RUN"):
            if "apt-get install" in rest:
                assert "--no-install-recommends" in rest
                assert "rm -rf /var/lib/apt/lists/*" in rest


def test_no_secret_is_baked_into_an_image():
    for stage in STAGES:
        for instruction in ("ENV", "ARG", "LABEL"):
            for rest in stage.of(instruction):
                assert SECRET.search(rest) is None, rest
        assert stage.of("ADD") == []


def test_compose_has_the_whole_product():
    assert set(SERVICES) == {"api", "postgres", "redis", "sweeper", "worker", "worker-gpu"}
    for name, service in SERVICES.items():
        assert PINNED.match(service["image"]), name
        assert "privileged" not in service
        assert service.get("network_mode") is None


def test_only_the_api_is_published_and_on_loopback_only():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(published) == ["api"]
    assert all(re.match(r"127\.0\.0\.1:", port) for port in published["api"])
    environment = SERVICES["api"]["environment"]
    assert environment["KINETAG_HOST"] == "0.0.0.0"  # noqa: S104 - inside the container
    # So requests need keys, and nothing says otherwise.
    for name in OURS:
        assert "KINETAG_ALLOW_PUBLIC_BIND" not in SERVICES[name]["environment"]
        assert "KINETAG_REQUIRE_KEYS" not in SERVICES[name]["environment"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_health_check(name):
    service = SERVICES[name]
    if "healthcheck" in service:
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    else:
        assert BY_NAME[service["build"]["target"]].of("HEALTHCHECK")


def test_what_is_waited_for_exists_and_can_be_healthy():
    waits = 0
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert how == {"condition": "service_healthy"}
            waits += 1
    assert waits >= 5


def test_volumes_are_named_and_used():
    declared = set(COMPOSE["volumes"])
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
    }
    assert used == declared == {"data", "database"}


@pytest.mark.parametrize("name", OURS)
def test_our_services_are_locked_down_and_share_their_settings(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["volumes"] == ["data:/data"]
    assert service["build"]["target"] in BY_NAME
    environment = service["environment"]
    assert environment["KINETAG_DATABASE_URL"].startswith("postgresql+psycopg://")
    assert environment["KINETAG_BROKER_URL"].startswith("redis://redis:")
    assert environment["KINETAG_DATA_DIR"] == "/data"


def test_the_password_comes_from_outside_and_is_required():
    text = (ROOT / "docker-compose.yml").read_text()
    uses = re.findall(r"\$\{KINETAG_DB_PASSWORD([^}]*)\}", text)
    assert len(uses) == 2
    assert all(use.startswith(":?") for use in uses)
    literal = re.findall(r"(?:PASSWORD|SECRET|TOKEN): *[\"']?(?!\$\{)\w", text)
    assert literal == []


def test_the_gpu_is_asked_for_in_its_profile_only():
    with_devices = [name for name, service in SERVICES.items() if "deploy" in service]
    assert with_devices == ["worker-gpu"]
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_every_setting_in_compose_is_one_the_service_knows():
    from service.settings import Settings

    known = {f"KINETAG_{name.upper()}" for name in Settings.model_fields}
    given = {
        name
        for service in SERVICES.values()
        for name in service.get("environment", {})
        if name.startswith("KINETAG_")
    }
    assert given <= known


def test_commands_are_commands_of_the_command_line():
    root = (ROOT / "kinetag.py").read_text()
    for name in OURS:
        program, command, *_ = SERVICES[name]["command"]
        assert program == "kinetag"
        assert f'"{command}": (' in root


def test_hadolint_has_nothing_to_say():
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed; there is no wheel of it for this machine")
    completed = subprocess.run(
        [program, "--failure-threshold", "info", "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout
