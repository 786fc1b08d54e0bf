"""Home Assistant's MQTT discovery: what it has to be told so that a camera appears by itself.

Source: home-assistant.io, integrations MQTT (discovery), MQTT Event, MQTT Sensor, and
homeassistant/components/mqtt/{schemas,event}.py.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.bridges.topics import Topics

MAX_EVENT_TYPES = 300
OTHER = "other"
"""Type of an event whose label was not announced: Home Assistant drops unknown types."""

SLUG_CHARACTERS = 40
DIGEST_DIGITS = 10
MAX_STATE_CHARACTERS = 255
"""Source: homeassistant/const.py, MAX_LENGTH_STATE_STATE."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What is announced.

    Attributes:
        prefix: Home Assistant's discovery prefix; empty announces nothing.
        topics: of the segments.
        labels: that models here can find.
        version: of this program.
    """

    prefix: str
    topics: Topics
    labels: tuple[str, ...]
    version: str

    @property
    def event_types(self) -> tuple[str, ...]:
        """The labels that are types of events, and the one for all others."""
        known = [label for label in dict.fromkeys(self.labels) if label and label != OTHER]
        return (*known[: MAX_EVENT_TYPES - 1], OTHER)

    def event_type(self, label: str) -> str:
        """Return the type of an event with a label."""
        return label if label in self.event_types else OTHER

    def configs(self, cameras: Sequence[str]) -> dict[str, str]:
        """Return topic -> body of the configuration of every camera's entities; all retained."""
        if not self.prefix:
            return {}
        return {topic: body for camera in cameras for topic, body in self._camera(camera)}

    def _camera(self, camera: str) -> list[tuple[str, str]]:
        device = self.device_id(camera)
        topic = self.topics.camera(camera)
        sensor = {"json_attributes_topic": topic, "state_topic": topic}
        label = f"{{{{ value_json.label[:{MAX_STATE_CHARACTERS}] }}}}"
        entities: list[tuple[str, str, dict[str, Any]]] = [
            (
                "event",
                "action",
                {
                    "name": "Action",
                    "icon": "mdi:run-fast",
                    "state_topic": topic,
                    "event_types": list(self.event_types),
                },
            ),
            (
                "sensor",
                "last_action",
                {"name": "Last action", "icon": "mdi:run", **sensor, "value_template": label},
            ),
            (
                "sensor",
                "last_action_at",
                {
                    "name": "Last action at",
                    "device_class": "timestamp",
                    "state_topic": topic,
                    "value_template": "{{ value_json.started_at }}",
                },
            ),
        ]
        return [
            (
                f"{self.prefix}/{component}/{device}/{name}/config",
                json.dumps(
                    {**config, **self._shared(camera, f"{device}_{name}")}, ensure_ascii=False
                ),
            )
            for component, name, config in entities
        ]

    def _shared(self, camera: str, unique_id: str) -> dict[str, Any]:
        return {
            "unique_id": unique_id,
            "qos": 1,
            "availability_topic": self.topics.available,
            # "stopped" is neither of the two words that Home Assistant knows.
            "availability_template": "{{ 'online' if value == 'online' else 'offline' }}",
            "device": {
                "identifiers": [self.device_id(camera)],
                "name": f"Kinetag {camera}",
                "manufacturer": "Kinetag",
                "model": "Camera",
                "sw_version": self.version,
            },
            "origin": {"name": "Kinetag", "sw_version": self.version},
        }

    def device_id(self, camera: str) -> str:
        """Return an id in letters, digits and ``_``, of this camera below this prefix alone."""
        slug = re.sub(r"[^A-Za-z0-9]+", "_", camera).strip("_").lower()[:SLUG_CHARACTERS]
        whole = f"{self.topics.prefix}\n{camera}".encode(errors="surrogatepass")
        digest = hashlib.sha256(whole).hexdigest()[:DIGEST_DIGITS]
        return "_".join(part for part in ("kinetag", slug, digest) if part)
