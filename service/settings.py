"""All settings of a deployment; the only place that reads the environment (``KINETAG_…``).

Settings enter everything else as arguments. Thresholds of the science are no settings: they
belong to a model.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.bridges.addresses import (
    MqttAddress,
    camera_names,
    checked_base,
    checked_discovery_prefix,
    checked_prefix,
)
from service.errors import ConfigurationError

GIB = 1024**3
DEFAULT_BRIDGE_TENANT = "default"
WORDS = Annotated[tuple[str, ...], NoDecode]
"""Given as ``a,b,c`` in the environment."""


class Settings(BaseSettings):
    """What an operator can choose; every field is also the variable ``KINETAG_<FIELD>``."""

    model_config = SettingsConfigDict(
        env_prefix="KINETAG_", frozen=True, extra="ignore", populate_by_name=True
    )

    data_dir: Path = Field(
        default_factory=lambda: Path(typer.get_app_dir("kinetag")),
        # The command line's home serves too, so that models pulled by hand are found.
        validation_alias=AliasChoices("KINETAG_DATA_DIR", "KINETAG_HOME"),
        description="Folder of the database, videos, features, results and the user's models.",
    )
    database_url: SecretStr | None = Field(
        None, description="sqlite:///PATH or postgresql://…; default kinetag.db in the data folder."
    )
    broker_url: SecretStr | None = Field(
        None, description="Celery broker; without one, workers ask the database."
    )
    host: str = Field("127.0.0.1", description="Address the API listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the API; 0 takes a free one.")
    allow_public_bind: bool = Field(
        False,
        description="Permit an address that other machines reach although no keys are required: "
        "only inside a closed network or behind a proxy that authenticates.",
    )
    allowed_hosts: WORDS = Field(
        ("localhost", "127.0.0.1", "::1"),
        description="Host names the API answers for, without port; * for any.",
    )
    allowed_origins: WORDS = Field(
        (), description="Origins (scheme://host[:port]) of web pages that may call the API."
    )
    require_keys: bool | None = Field(
        None,
        description="Whether requests need an API key; unset: only where other machines reach the "
        "API.",
    )
    path_roots: WORDS = Field(
        (), description="Folders of this machine below which videos may be named by path."
    )
    allow_private_urls: bool = Field(
        False,
        description="Call URLs of private addresses and other ports too: only in a closed network.",
    )
    max_upload_bytes: int = Field(16 * GIB, ge=1, description="Largest request body.")
    upload_stall_seconds: float = Field(
        60.0, gt=0, description="An upload that brings nothing for so long is dropped."
    )
    upload_expires_seconds: float = Field(
        24 * 3600.0, gt=0, description="An unfinished resumable upload is dropped after it."
    )
    fetch_seconds: float = Field(
        3600.0, gt=0, description="A video that takes longer to fetch by URL is given up."
    )
    quota_bytes: int | None = Field(
        None, ge=0, description="Bytes of videos a tenant may store; unset: no limit."
    )
    quota_queued_jobs: int | None = Field(
        None, ge=1, description="Unfinished jobs a tenant may have; unset: no limit."
    )
    quota_requests_per_second: float | None = Field(
        None, gt=0, description="Requests a tenant may send to one API process; unset: no limit."
    )
    quota_uploads: int | None = Field(
        None, ge=1, description="Uploads a tenant may send to one API process at once; unset: all."
    )
    storage_url: str | None = Field(
        None,
        description="Where videos and results lie: s3://BUCKET/PREFIX, gs:// or az://; unset: the "
        "data folder.",
    )
    storage_endpoint: str | None = Field(
        None,
        description="Address of a storage that speaks S3 but is not Amazon's, such as "
        "https://minio.example:9000.",
    )
    webhook_attempts: int = Field(
        10, ge=1, description="Tries of one webhook delivery before it is given up."
    )
    webhook_retry_seconds: float = Field(
        5.0,
        gt=0,
        description="Wait after a delivery's first failure; each further one is six times as long.",
    )
    webhook_timeout_seconds: float = Field(
        10.0, gt=0, description="How long a webhook's receiver may take to answer."
    )
    min_free_bytes: int = Field(
        2 * GIB, ge=0, description="Uploads are refused below this much free disk space."
    )
    min_free_fraction: float = Field(
        0.05, ge=0, le=1, description="The floor is never more than this share of the disk."
    )
    default_model: str = Field(
        "kinetag-demo", description="NAME[@VERSION] where none is asked for."
    )
    retention_days: float = Field(30.0, gt=0, description="Ended jobs are deleted after it.")
    lease_seconds: float = Field(60.0, gt=0, description="How long a silent worker keeps a task.")
    heartbeat_seconds: float = Field(15.0, gt=0, description="How often a worker reports.")
    poll_seconds: float = Field(15.0, gt=0, description="How often a worker asks the database.")
    sweep_seconds: float = Field(5.0, gt=0, description="How often expired leases are looked for.")
    stall_seconds: float = Field(
        300.0, gt=0, description="A task without progress for so long is given up by its worker."
    )
    bridge_tenant: str = Field(
        DEFAULT_BRIDGE_TENANT, description="Tenant whose segments the bridges tell."
    )
    bridge_labels: WORDS = Field((), description="Labels the bridges tell; unset: all.")
    bridge_min_score: float = Field(
        0.0, ge=0, le=1, description="Segments below this score are not told by the bridges."
    )
    bridge_ca_file: Path | None = Field(
        None,
        description="PEM file of certificates that broker, Grafana and Frigate may have beside "
        "the system's.",
    )
    mqtt_url: SecretStr | None = Field(
        None,
        description="Broker that segments are published to: mqtt://USER:PASSWORD@HOST:PORT, "
        "mqtts:// for TLS.",
    )
    mqtt_prefix: str = Field("kinetag", description="What MQTT topics begin with.")
    mqtt_discovery_prefix: str = Field(
        "homeassistant",
        description="Where Home Assistant looks for new devices; empty: nothing is announced.",
    )
    mqtt_recent_seconds: float = Field(
        24 * 3600.0,
        gt=0,
        description="Older segments do not change the topics of cameras and labels, which show "
        "the present.",
    )
    grafana_url: str | None = Field(
        None, description="Grafana that gets segments as annotations, such as http://grafana:3000."
    )
    grafana_token: SecretStr | None = Field(
        None, description="Token of a service account that may create and read annotations."
    )
    frigate_url: str | None = Field(
        None, description="Frigate that gets new segments as events, such as http://frigate:5000."
    )
    frigate_user: str | None = Field(
        None, description="User of Frigate with the admin role; unset on its internal port."
    )
    frigate_password: SecretStr | None = Field(None, description="The user's password.")
    frigate_near_live_seconds: float = Field(
        120.0, gt=0, description="Only segments that ended so lately become events of Frigate."
    )
    frigate_cameras: WORDS = Field(
        (), description="Cameras with another name there: OURS=THEIRS,OURS=THEIRS."
    )
    otlp_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("KINETAG_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Collector that spans are sent to by OTLP over HTTP, such as "
        "http://127.0.0.1:4318; needs kinetag[tracing].",
    )
    log_format: Literal["json", "plain"] = Field("plain", description="One JSON object per line?")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )

    @field_validator(
        "allowed_hosts",
        "allowed_origins",
        "path_roots",
        "bridge_labels",
        "frigate_cameras",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        return value

    @field_validator(
        "broker_url",
        "database_url",
        "storage_url",
        "storage_endpoint",
        "otlp_endpoint",
        "require_keys",
        "bridge_ca_file",
        "mqtt_url",
        "grafana_url",
        "grafana_token",
        "frigate_url",
        "frigate_user",
        "frigate_password",
        mode="before",
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("mqtt_url")
    @classmethod
    def _broker(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            MqttAddress.of(value.get_secret_value())
        return value

    @field_validator("grafana_url", "frigate_url")
    @classmethod
    def _base(cls, value: str | None) -> str | None:
        return None if value is None else checked_base(value)

    @field_validator("mqtt_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        return checked_prefix(value)

    @field_validator("mqtt_discovery_prefix")
    @classmethod
    def _discovery_prefix(cls, value: str) -> str:
        return checked_discovery_prefix(value)

    @field_validator("frigate_cameras")
    @classmethod
    def _cameras(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        camera_names(value)
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.heartbeat_seconds >= self.lease_seconds:
            message = (
                f"heartbeat_seconds ({self.heartbeat_seconds}) must be below "
                f"lease_seconds ({self.lease_seconds}), or every lease runs out."
            )
            raise ValueError(message)
        return self

    @property
    def resolved_database_url(self) -> str:
        """The database's address, password included: never for logs."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir / 'kinetag.db'}"

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """Folders searched for models: the user's, then the bundled ones."""
        bundled = Path(__file__).parents[1] / "models" / "bundled"
        return (self.data_dir / "models", bundled)

    @property
    def temporary_folder(self) -> Path:
        """Unfinished files; on the same file system as the blobs, so that a rename finishes."""
        return self.data_dir / "tmp"

    @property
    def uploads_folder(self) -> Path:
        """Resumable uploads under way; on the same file system as the blobs."""
        return self.data_dir / "uploads"

    @property
    def features_folder(self) -> Path:
        """Root of the feature store."""
        return self.data_dir / "features"

    @property
    def worker_silence_seconds(self) -> float:
        """After this long without a sign a worker is taken for absent."""
        return 3 * max(self.poll_seconds, self.heartbeat_seconds)


def load_settings(**overrides: object) -> Settings:
    """Read the settings; overrides (None is none) go before the environment.

    Raises:
        ConfigurationError: a value is not of its documented form.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks the values
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        name = f"KINETAG_{field.upper()}: " if field else ""
        message = f"The setting cannot be used: {name}{first['msg']}."
        raise ConfigurationError(message) from error


def keys_required(settings: Settings) -> bool:
    """Say whether a request needs an API key: as set, or else where other machines reach it."""
    if settings.require_keys is not None:
        return settings.require_keys
    return not is_loopback(settings.host)


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def settled_for_host(settings: Settings, host: str) -> Settings:
    """Return the settings for listening on an address; if others reach it, keys are required.

    Raises:
        ConfigurationError: others reach it, and the settings say that nobody needs a key.
    """
    settled = settings.model_copy(update={"host": host})
    if keys_required(settled) or is_loopback(host) or settings.allow_public_bind:
        return settled
    message = (
        f"Listening on {host} without API keys would let anybody on the network read and delete "
        "videos. Leave KINETAG_REQUIRE_KEYS unset and make a key with kinetag keys create, use "
        "127.0.0.1, or set KINETAG_ALLOW_PUBLIC_BIND=1 inside a closed network or behind a proxy "
        "that authenticates."
    )
    raise ConfigurationError(message)
