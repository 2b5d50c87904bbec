"""The server's settings: `DELTAREG_…` variables, read once by the entry point and handed down."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from deltareg.api.log_lines import LogForm, LogLevel
from deltareg.host.urls import split_url
from deltareg.service.issuers import KNOWN
from deltareg.service.operations.operation import KeepingTimes
from deltareg.words import BareName, Founders


class ServerSettings(BaseSettings):
    """What a server needs to know; every field is `DELTAREG_<NAME>` in the environment.

    What a store needs besides its URL, the store reads itself (`deltareg.store.read_options`).
    """

    model_config = SettingsConfigDict(env_prefix="DELTAREG_", extra="ignore")

    database_url: str | None = Field(default=None, description="Database; a SQLite file in the data folder when unset.")
    database_connections: int = Field(
        default=30, ge=3, description="Connections to the database that one server opens at most."
    )
    store_url: str | None = Field(
        default=None,
        description="Where packs go: file:///…, s3://bucket/prefix, gs://bucket/prefix, or the URL"
        " of a store that another package brings; default on disk.",
    )
    second_store_url: str | None = Field(
        default=None,
        description="A copy of the store, such as a replicated bucket: pulls read from it what the store does not give,"
        " and `fsck --repair` heals from it.",
    )
    data_dir: Path = Field(default=Path("deltareg-data"), description="Folder of the embedded database and store.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8642, description="Port to listen on; 0 takes a free one.")
    tls_cert: Path | None = Field(default=None, description="Certificate chain, PEM.")
    tls_key: Path | None = Field(default=None, description="Private key, PEM.")
    behind_proxy: int = Field(
        default=0,
        ge=0,
        le=9,
        description="How many proxies are in front, the first of which ends TLS; true is one. It allows a"
        " non-loopback address, and limits count by what the proxies append to `X-Forwarded-For`.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Host names that requests may be for, comma-separated."
    )
    anonymous_reading: bool = Field(default=False, description="Whether public namespaces are read without a token.")
    namespaces_by: Founders = Field(
        default="pushers",
        description="Who makes namespaces: whoever may push, by a first push or `namespace create`,"
        " or `admins` alone, whom others ask by `namespace create`.",
    )
    hub: bool = Field(
        default=True, description="Whether clients of the Hugging Face Hub are answered, at the server's root."
    )
    hub_main: BareName = Field(
        default="prod",
        description="What `main` is for such a client whose token only reads: what `prod` serves"
        " (until something was promoted to it, the newest version that passed), or the newest version.",
    )
    hub_address: str = Field(
        default="",
        description="The address at which the server reaches itself, to push what such clients"
        " commit; by default the one that it listens on. With TLS of its own it has to be told.",
    )
    requests_per_minute: int = Field(
        default=30_000,
        ge=0,
        description="How many requests a principal may send a minute; an address without a token may send"
        " a quarter of it. 0 is any number.",
    )
    document_mib: int = Field(
        default=48, ge=1, le=256, description="The longest manifest or storage map that is taken, MiB."
    )
    lease_s: float = Field(default=60.0, description="How long a worker's lease lasts, seconds.")
    upload_grace_s: float = Field(
        default=86_400.0, description="How long an idle upload is kept before collection, seconds."
    )
    deleted_days: float = Field(
        default=7.0, ge=0, description="How long a deleted version can be restored before collection, days."
    )
    finished_days: float = Field(
        default=90.0,
        ge=40,
        description="How long pushes and runs that came to their end are listed, where nothing else needs them, days.",
    )
    run_log_days: float = Field(
        default=30.0, ge=0, description="How long a log is kept after its run; 0 is for ever, days."
    )
    form_days: float = Field(
        default=7.0, ge=0, description="How long a version's former stored form is kept, to go back to it, days."
    )
    signing_key: Path | None = Field(
        default=None,
        description="A file with the servers' key, PEM, mode 0600, the same on all servers; not needed where they share"
        " `DELTAREG_WEBHOOK_KEY`.",
    )
    checkpoint_file: Path | None = Field(
        default=None, description="Where checkpoints are kept beside the store; in the data folder when unset."
    )
    sigstore_trust: Path | None = Field(
        default=None, description="Trust configuration of the Sigstore whose signatures are taken, JSON."
    )
    oidc: Path | None = Field(
        default=None, description="File of the providers that people sign in with, TOML; without one, with tokens."
    )
    webhook_key: Path | None = Field(
        default=None,
        description="Key that the servers' key and secrets of webhooks and sign-ins are sealed under, mode 0600, the"
        " same on all servers; made in the data folder where the database lies there.",
    )
    webhook_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        default=(), description="Private networks that webhooks may call, as 10.1.0.0/16, comma-separated."
    )
    issuers: Annotated[tuple[str, ...], NoDecode] = Field(
        default=KNOWN,
        description="Whose assertions a trust may accept: issuers of OpenID Connect, comma-separated; nobody else"
        " is asked for keys.",
    )
    issuers_ca: Path | None = Field(
        default=None, description="Certificates of authorities that issuers may be of, too, PEM: those of a cluster."
    )
    recheck_share: float = Field(
        default=0.02, ge=0, le=1, description="Of the passes, the share that another worker verifies again."
    )

    log_level: LogLevel = Field(
        default="warning",
        description="From which level on the log has lines, on stderr; `info` has one for each request.",
    )
    log_form: LogForm = Field(default="text", description="How lines of the log are written: `text`, or `json`.")

    @field_validator("behind_proxy", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        words = {"true": 1, "yes": 1, "on": 1, "false": 0, "no": 0, "off": 0, "": 0}
        return words.get(value.strip().lower(), value) if isinstance(value, str) else value

    @field_validator("allowed_hosts", "webhook_networks", "issuers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @property
    def effective_database_url(self) -> str:
        """The database of the settings, or else the embedded one."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'registry.db'}"

    @property
    def effective_store_url(self) -> str:
        """The store of the settings, or else the embedded one."""
        return self.store_url or (self.data_dir.absolute() / "blobs").as_uri()

    @property
    def effective_signing_key(self) -> Path:
        """The file of the server's own key."""
        return self.signing_key or self.data_dir.absolute() / "server-key.pem"

    @property
    def effective_webhook_key(self) -> Path | None:
        """The file of the key for webhooks; without one set, only embedded servers have it."""
        is_embedded = self.effective_database_url.startswith("sqlite")
        own = self.data_dir.absolute() / "webhook-key" if is_embedded else None
        return self.webhook_key or own

    @property
    def effective_checkpoint_file(self) -> Path:
        """The file that grows by a line with each checkpoint of the audit trail."""
        return self.checkpoint_file or self.data_dir.absolute() / "checkpoints.jsonl"

    @property
    def records(self) -> Path:
        """The folder of what the server records for `server doctor`."""
        return self.data_dir.absolute() / "records"

    @property
    def keep_logs_s(self) -> float | None:
        """How long the log of a run is kept after its end, seconds; None for ever."""
        return self.run_log_days * 86_400 or None

    @property
    def keeping_times(self) -> KeepingTimes:
        """How long what has done its work is kept."""
        return KeepingTimes(
            upload_grace_s=self.upload_grace_s,
            deleted_s=self.deleted_days * 86_400,
            forms_s=self.form_days * 86_400,
            logs_s=self.keep_logs_s,
            finished_s=self.finished_days * 86_400,
        )

    def own_disks(self) -> dict[str, Path]:
        """Return the folders on this machine that the server writes to, by their content."""
        database, store = split_url(self.effective_database_url), split_url(self.effective_store_url)
        folders: dict[str, Path] = {}
        if database.scheme.startswith("sqlite"):
            folders["database"] = Path(database.path[1:]).absolute().parent
        if store.scheme == "file":
            folders["store"] = Path(unquote(store.path))
        return folders
