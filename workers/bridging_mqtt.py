"""Publishes segments to an MQTT broker, and announces cameras to Home Assistant.

Every connection is a fresh client that is dropped when it breaks: the library's own queue of
unsent messages never grows, because nothing is handed to it before the last part was confirmed.
"""

import contextlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from service.bridges.addresses import MqttAddress
from service.bridges.frigate import event_messages, segment_message, state_message
from service.bridges.homeassistant import Discovery
from service.bridges.segments import BridgeSegment
from service.bridges.topics import Topics
from workers.bridging import OutsideAwayError, Remember, trusting

ONLINE, OFFLINE, STOPPED = "online", "offline", "stopped"
AT_LEAST_ONCE = 1
KEEP_ALIVE_SECONDS = 30
CONNECT_SECONDS = 10.0
CONFIRM_SECONDS = 20.0
STOP_SECONDS = 1.0
WAIT_SECONDS = 0.2
PART = 50
"""Segments of which the broker confirms all messages within `CONFIRM_SECONDS`."""
REFRESH_SECONDS = 600.0
"""How often the cameras there are get compared with those that were announced."""

ANNOUNCED = "announced"
LOGIN_FAILURES = frozenset({"Bad user name or password", "Not authorized"})
"""Source: MQTT 5, 2.4 Reason Code; the library maps the return codes of 3.1.1 to them."""

_log = structlog.get_logger(__name__)

Message = tuple[str, str, bool]
"""Topic, body, and whether the broker keeps it for those who come later."""


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """What is published, and where.

    Attributes:
        recent_seconds: older segments do not change the topics of cameras and labels.
        ca_file: of certificates that the broker may have beside the system's.
    """

    address: MqttAddress
    topics: Topics
    discovery: Discovery
    client_id: str
    recent_seconds: float = 24 * 3600.0
    ca_file: Path | None = None


class MqttConnection:
    """One connection to a broker, from connecting to its end; never used again afterwards.

    Raises:
        OutsideAwayError: the broker cannot be reached, or refuses us.
    """

    def __init__(self, settings: MqttSettings) -> None:
        self._address = settings.address
        self._answered = threading.Event()
        self._broken = threading.Event()
        self._refusal = ""
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_SECONDS
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.will_set(settings.topics.available, OFFLINE, AT_LEAST_ONCE, retain=True)
        if self._address.user is not None:
            client.username_pw_set(self._address.user, self._address.password)
        self._client = client
        try:
            if self._address.tls:
                client.tls_set_context(trusting(settings.ca_file))
            client.connect(self._address.host, self._address.port, KEEP_ALIVE_SECONDS)
        except (OSError, ValueError) as error:
            raise OutsideAwayError(self._reason(error)) from error
        client.loop_start()
        answered = self._answered.wait(CONNECT_SECONDS)
        if not answered or self._refusal or self._broken.is_set():
            self.drop()
            message = self._refusal or f"The broker {self._address.shown} does not speak MQTT."
            raise OutsideAwayError(message)

    def publish(self, messages: Iterable[Message], seconds: float = CONFIRM_SECONDS) -> None:
        """Publish in order, and wait until the broker has confirmed everything.

        Raises:
            OutsideAwayError: it has not.
        """
        sent = []
        for topic, body, retain in messages:
            info = self._client.publish(topic, body.encode(), AT_LEAST_ONCE, retain=retain)
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lose()
            sent.append(info)
        deadline = time.monotonic() + seconds
        for info in sent:
            while not _is_confirmed(info):
                if self._broken.is_set() or time.monotonic() > deadline:
                    self._lose()

    def check(self) -> None:
        """Notice that the connection broke while nothing was said.

        Raises:
            OutsideAwayError: so it did.
        """
        if self._broken.is_set():
            self._lose()

    def drop(self) -> None:
        """End it; the broker publishes the last will unless `part` came before."""
        with contextlib.suppress(OSError, ValueError):
            sock = self._client.socket()
            if sock is not None:
                sock.close()
        self._client.loop_stop()

    def part(self, last_word: Message) -> None:
        """Say a last word and leave, so that the broker keeps the last will to itself."""
        with contextlib.suppress(OutsideAwayError):
            self.publish([last_word], STOP_SECONDS)
        # Also where the confirmation is late: the word was sent before.
        self._client.disconnect()
        self._client.loop_stop()

    def _lose(self) -> None:
        message = f"The connection to the broker {self._address.shown} broke."
        raise OutsideAwayError(message)

    def _on_connect(
        self,
        client: paho.Client,  # noqa: ARG002 - the library's own signature
        userdata: object,  # noqa: ARG002 - as above
        flags: paho.ConnectFlags,  # noqa: ARG002 - as above
        reason: ReasonCode,
        properties: Properties | None,  # noqa: ARG002 - as above
    ) -> None:
        if reason.is_failure:
            self._refusal = f"The broker {self._address.shown} refuses us: {reason}."
            if reason.getName() in LOGIN_FAILURES:
                self._refusal += " Check user and password in KINETAG_MQTT_URL."
        self._answered.set()

    def _on_disconnect(
        self,
        client: paho.Client,  # noqa: ARG002 - the library's own signature
        userdata: object,  # noqa: ARG002 - as above
        flags: paho.DisconnectFlags,  # noqa: ARG002 - as above
        reason: ReasonCode,  # noqa: ARG002 - as above
        properties: Properties | None,  # noqa: ARG002 - as above
    ) -> None:
        self._broken.set()
        self._answered.set()

    def _reason(self, error: Exception) -> str:
        shown = self._address.shown
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"The certificate of the broker {shown} is not trusted; name its authority's file "
                "in KINETAG_BRIDGE_CA_FILE."
            )
        return f"The broker {shown} cannot be reached: {error}."


class MqttOutlet:
    """An `workers.bridging.Outlet` that publishes.

    Args of the constructor:
        settings: of the deployment.
        cameras: tenant's id -> names of the cameras there are.
        clock: seconds since the epoch.
    """

    name = "mqtt"
    part = PART

    def __init__(
        self,
        settings: MqttSettings,
        cameras: Callable[[str], list[str]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._cameras = cameras
        self._clock = clock
        self._connection: MqttConnection | None = None
        self._remember: Remember = lambda _: None
        self._tenant_id = ""
        self._announced: dict[str, str] = {}
        self._left_behind: set[str] = set()
        self._refreshed_at = 0.0

    def open(self, memory: Mapping[str, Any], remember: Remember, tenant_id: str) -> None:
        """See `workers.bridging.Outlet`; announces whatever cameras there are."""
        self._remember, self._tenant_id = remember, tenant_id
        self._left_behind = set(memory.get(ANNOUNCED, ()))
        self._announced = {}  # another broker may stand at the same address by now
        self._connection = MqttConnection(self._settings)
        self._connection.publish([(self._settings.topics.available, ONLINE, True)])
        self._refresh()

    def expect(self, camera: str) -> None:
        """Announce a camera before its first segment, so that somebody listens by then."""
        self._announce([camera])

    def tell(self, segments: Sequence[BridgeSegment]) -> None:
        """See `workers.bridging.Outlet`."""
        self._announce(dict.fromkeys(one.camera for one in segments if one.camera))
        self._connected().publish(
            message for segment in segments for message in self._messages(segment)
        )

    def idle(self) -> None:
        """See `workers.bridging.Outlet`."""
        self._connected().check()
        if time.monotonic() - self._refreshed_at >= REFRESH_SECONDS:
            self._refresh()

    def close(self, *, stopping: bool) -> None:
        """See `workers.bridging.Outlet`."""
        connection, self._connection = self._connection, None
        if connection is not None and stopping:
            connection.part((self._settings.topics.available, STOPPED, True))
        elif connection is not None:
            connection.drop()

    def _connected(self) -> MqttConnection:
        if self._connection is None:
            message = "The broker is not connected."
            raise OutsideAwayError(message)
        return self._connection

    def _messages(self, segment: BridgeSegment) -> Iterable[Message]:
        topics = self._settings.topics
        if segment.camera is None or segment.ended_at is None:
            yield topics.segments, _json(segment_message(segment)), False
            return
        for message in event_messages(segment):
            yield topics.events, _json(message), False
        if self._clock() - segment.ended_at.timestamp() > self._settings.recent_seconds:
            return
        event_type = self._settings.discovery.event_type(segment.label)
        state = _json(state_message(segment, event_type))
        yield topics.label(segment.camera, segment.label), state, True
        yield topics.camera(segment.camera), state, True

    def _refresh(self) -> None:
        """Announce the cameras there are, and take back those that are gone."""
        cameras = self._cameras(self._tenant_id)
        self._announce(cameras)
        wanted = set(self._settings.discovery.configs(cameras))
        gone = sorted(self._left_behind - wanted)
        if gone:
            # An empty retained body removes what was retained, and the entity with it.
            self._connected().publish((topic, "", True) for topic in gone)
            self._left_behind &= wanted
            self._announced = {one: self._announced[one] for one in wanted & set(self._announced)}
            self._remember({ANNOUNCED: sorted(self._left_behind)})
        self._refreshed_at = time.monotonic()

    def _announce(self, cameras: Iterable[str]) -> None:
        configs = self._settings.discovery.configs(list(cameras))
        news = {
            topic: body for topic, body in configs.items() if self._announced.get(topic) != body
        }
        if not news:
            return
        if not self._left_behind >= set(news):
            # Noted before it is said: what was announced can always be taken back.
            self._left_behind |= set(news)
            self._remember({ANNOUNCED: sorted(self._left_behind)})
        self._connected().publish((topic, body, True) for topic, body in news.items())
        self._announced.update(news)


def _is_confirmed(info: paho.MQTTMessageInfo) -> bool:
    """Wait a moment for the broker's confirmation, and return whether it came."""
    try:
        info.wait_for_publish(WAIT_SECONDS)
        return info.is_published()
    except (RuntimeError, ValueError):
        return False  # the connection broke; the caller sees that


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
