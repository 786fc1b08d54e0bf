"""What the doctor says of bridges: whether what the settings name can be connected to."""

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from models.doctor.problems import Problem
from models.doctor.wording import Line
from service.bridges.addresses import MqttAddress
from service.settings import Settings

CONNECT_SECONDS = 2.0
WEB_PORTS = {"http": 80, "https": 443}

Document = dict[str, Any]


def examine_bridges(settings: Settings) -> list[Document]:
    """Try to connect to every outside, without a word of its protocol.

    Returns:
        For each bridge that is switched on ``name``, ``host`` (with its port; no login) and
        ``reachable``.
    """
    found = []
    if settings.mqtt_url is not None:
        address = MqttAddress.of(settings.mqtt_url.get_secret_value())
        found.append(_reach("mqtt", address.host, address.port))
    for name, base in (("grafana", settings.grafana_url), ("frigate", settings.frigate_url)):
        if base is not None:
            parts = urlsplit(base)
            found.append(_reach(name, parts.hostname or "", parts.port or WEB_PORTS[parts.scheme]))
    return found


def bridge_problems(bridges: list[Document]) -> Iterator[Problem]:
    """Yield a problem for each outside that is away."""
    for bridge in bridges:
        if not bridge["reachable"]:
            message = (
                f"The bridge {bridge['name']} does not reach {bridge['host']}; start it there, or "
                f"correct KINETAG_{bridge['name'].upper()}_URL. What happens meanwhile is told "
                "later."
            )
            yield Problem("bridge_unreachable", "warning", message)


def bridge_lines(bridges: list[Document]) -> Iterator[Line]:
    """Yield (topic, sentence) about each bridge."""
    for bridge in bridges:
        state = "answers" if bridge["reachable"] else "does not answer"
        yield "bridge", f"{bridge['name']}: {bridge['host']} {state}"


def _reach(name: str, host: str, port: int) -> Document:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError:
        reachable = False
    else:
        reachable = True
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return {"name": name, "host": shown, "reachable": reachable}
