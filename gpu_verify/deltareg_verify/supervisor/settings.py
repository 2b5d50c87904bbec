"""The worker's settings, from `DELTAREG_WORKER_*`; flags of the command line win over them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from deltareg.errors import InvalidInput
from deltareg.words import RUN_KIND_NAMES
from deltareg_verify.sandbox.escape_trial import accepted_layers
from deltareg_verify.supervisor.options import WorkerOptions, default_name, share_of_memory


class WorkerSettings(BaseSettings):
    """The settings of an operator; the server's address and the token are the client's settings."""

    model_config = SettingsConfigDict(env_prefix="DELTAREG_WORKER_", extra="ignore")

    name: Annotated[str, Field(description="How the worker calls itself.")] = Field(default_factory=default_name)
    gpu: Annotated[str, Field(description="A GPU's number, `cpu`, or `auto` for the first GPU if there is one.")] = (
        "auto"
    )
    base_dirs: Annotated[str, Field(description="Folders with bases, or of such folders, separated by colons.")] = ""
    scratch: Annotated[Path, Field(description="Where runs are unpacked.")] = Field(
        default_factory=lambda: platformdirs.user_cache_path("deltareg-worker")
    )
    lease_wait_s: Annotated[float, Field(ge=0, le=60, description="Seconds that one request for work waits.")] = 20
    run_timeout_s: Annotated[float, Field(gt=0, description="Seconds after which a child is killed.")] = 1800
    stop_grace_s: Annotated[float, Field(ge=0, description="Seconds that a run may still take after SIGTERM.")] = 20
    threads: Annotated[int, Field(ge=0, description="Processor threads of a child; 0 takes all.")] = 0
    per_host: Annotated[int, Field(ge=1, description="How many workers this machine runs; `deltareg up` sets it.")] = 1
    memory_bytes: Annotated[
        int | None,
        Field(
            ge=0,
            description="Private memory of a child on a CPU, which pages of the base's files are "
            "not; 0 sets no limit. Default: an equal share of three quarters of the machine's, or of all but 8 GiB.",
        ),
    ] = None
    allow_escapes: Annotated[
        str,
        Field(
            description="Layers of the sandbox that may be missing though a child can then escape: "
            "some of `network files calls limits`. A layer that holds and leaks is never allowed."
        ),
    ] = ""

    base_cache_bytes: Annotated[
        int, Field(ge=0, description="Bytes of fetched bases kept between runs; 0 sets no limit.")
    ] = 0

    key_file: Annotated[Path, Field(description="The key that it signs with, mode 0600; made at the first start.")] = (
        Field(default_factory=lambda: platformdirs.user_data_path("deltareg-worker") / "key.pem")
    )
    only: Annotated[
        str,
        Field(
            pattern=rf"^(({'|'.join(RUN_KIND_NAMES)})( |$))*$",
            description="Kinds of runs that it takes, separated by spaces; all where none is"
            f" named: {', '.join(RUN_KIND_NAMES)}.",
        ),
    ] = ""

    idle_s: Annotated[float, Field(ge=0, description="Seconds without work after which it ends; 0 waits for ever.")] = 0
    labels: Annotated[
        str,
        Field(
            pattern=r"^([a-z][a-z0-9_-]{0,39}=[^\s=]{1,200}( |$))*$",
            description="What else it offers for `verify --on`, as `pool=gpu zone=a`.",
        ),
    ] = ""

    id_token_file: Annotated[
        Path | None,
        Field(description="In a pod: the token of its service account, which it is enrolled by and gets its own for."),
    ] = None

    host: Annotated[str, Field(description="What its machine is called. Default: host name and machine id.")] = ""

    def options(self, *, is_once: bool, only_run: str = "") -> WorkerOptions:
        """Return the settings as plain values."""
        return WorkerOptions(
            name=self.name,
            gpu=self.gpu,
            base_dirs=tuple(Path(item) for item in self.base_dirs.split(":") if item),
            scratch=self.scratch,
            lease_wait_s=self.lease_wait_s,
            run_timeout_s=self.run_timeout_s,
            stop_grace_s=self.stop_grace_s,
            threads=self.threads,
            memory_bytes=share_of_memory(self.per_host) if self.memory_bytes is None else self.memory_bytes,
            accepted_layers=accepted_layers(self.allow_escapes),
            base_cache_bytes=self.base_cache_bytes,
            key_file=self.key_file,
            host=self.host,
            is_once=is_once or bool(only_run),
            only_run=only_run,
            only=tuple(self.only.split()),
            idle_s=self.idle_s,
            id_token_file=self.id_token_file,
            labels=dict(pair.split("=") for pair in self.labels.split()),
        )


def resolve(flags: Mapping[str, object], *, is_once: bool, only_run: str = "") -> WorkerOptions:
    """Resolve the settings: a flag takes precedence over the environment.

    Raises:
        InvalidInput: A value is not allowed.
    """
    values = {key: value for key, value in flags.items() if value is not None}
    try:
        return WorkerSettings.model_validate(values).options(is_once=is_once, only_run=only_run)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"DELTAREG_WORKER_{first['loc'][0]}".upper()
        raise InvalidInput(f"{name}: {first['msg']}", fix="see docs/settings.md") from error
