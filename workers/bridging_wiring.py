"""Puts the bridges of a deployment together from its settings: those it names, and no others."""

import socket
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version

from service.bridges.addresses import MqttAddress, camera_names
from service.bridges.homeassistant import Discovery
from service.bridges.segments import BridgeFilter, known_cameras
from service.bridges.topics import Topics
from service.cards import list_models
from service.jobs.commands import JobCore
from service.outbound import Outbound, OutboundPolicy
from service.settings import Settings
from workers.bridging import BridgeService, Outlet, trusting
from workers.bridging_http import FrigateOutlet, FrigateSettings, GrafanaOutlet, WebPeer
from workers.bridging_mqtt import MqttOutlet, MqttSettings


def build_bridges(settings: Settings, core: JobCore) -> list[BridgeService]:
    """Build a service for each bridge that the settings name; nothing is contacted yet."""
    owner = f"{socket.gethostname()}/bridges"
    wanted = BridgeFilter.of(settings)
    outlets: list[Outlet] = []
    if settings.mqtt_url is not None:
        outlets.append(_mqtt(settings, core, settings.mqtt_url.get_secret_value()))
    if settings.grafana_url is not None:
        peer = WebPeer("Grafana", settings.grafana_url, _outbound(settings))
        token = settings.grafana_token
        outlets.append(GrafanaOutlet(peer, None if token is None else token.get_secret_value()))
    if settings.frigate_url is not None:
        outlets.append(_frigate(settings, settings.frigate_url))
    return [BridgeService(core, outlet, wanted, owner) for outlet in outlets]


def _mqtt(settings: Settings, core: JobCore, url: str) -> MqttOutlet:
    topics = Topics(settings.mqtt_prefix)
    labels = settings.bridge_labels or tuple(
        sorted({label for model in list_models(settings.model_folders) for label in model.classes})
    )
    return MqttOutlet(
        MqttSettings(
            address=MqttAddress.of(url),
            topics=topics,
            discovery=Discovery(settings.mqtt_discovery_prefix, topics, labels, _version()),
            # A second connection under one name would end the first: sweepers have one each.
            client_id=f"{settings.mqtt_prefix.replace('/', '-')}-{socket.gethostname()}",
            recent_seconds=settings.mqtt_recent_seconds,
            ca_file=settings.bridge_ca_file,
        ),
        partial(known_cameras, core),
    )


def _frigate(settings: Settings, base: str) -> FrigateOutlet:
    password = settings.frigate_password
    return FrigateOutlet(
        WebPeer("Frigate", base, _outbound(settings)),
        FrigateSettings(
            near_live_seconds=settings.frigate_near_live_seconds,
            user=settings.frigate_user,
            password=None if password is None else password.get_secret_value(),
            cameras=camera_names(settings.frigate_cameras),
        ),
    )


def _outbound(settings: Settings) -> Callable[[], Outbound]:
    @cache
    def outbound() -> Outbound:
        tls = trusting(settings.bridge_ca_file)
        return Outbound(OutboundPolicy(allow_private=True), tls=tls)

    return outbound


def _version() -> str:
    try:
        return version("kinetag")
    except PackageNotFoundError:
        return "0"
