"""One call of the command line: its global options, its settings, its client, its output."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from deltareg.client.config import ClientConfig, LoadedConfig, load_config
from deltareg.errors import InvalidInput
from deltareg_cli.terminal.output import Output, is_terminal

if TYPE_CHECKING:
    from deltareg.client import Client
    from deltareg.client.progress import Progress


@dataclass(slots=True)
class Globals:
    """The values of the global options, filled while the line is parsed; the last mention wins."""

    output: str | None = None
    quiet: bool = False
    no_color: bool = False
    no_progress: bool = False
    no_input: bool = False
    yes: bool = False
    dry_run: bool = False
    server: str | None = None
    profile: str | None = None
    timeout: str | None = None
    retries: str | None = None
    concurrency: str | None = None
    compression: str | None = None
    request_id: str = field(default_factory=lambda: os.urandom(16).hex())  # one for all that a command asks
    verbose: int = 0
    debug: bool = False
    log_format: str = "text"

    def flags(self) -> dict[str, str]:
        """Return the global options that are settings, as the settings' loader takes them."""
        settings = {
            "output": self.output,
            "server": self.server,
            "profile": self.profile,
            "timeout": self.timeout,
            "retries": self.retries,
            "concurrency": self.concurrency,
            "compression": self.compression,
            "progress": "false" if self.no_progress else None,
        }
        return {key: text for key, text in settings.items() if text is not None}


@dataclass(slots=True)
class Invocation:
    """What every command receives: commands read it, the frame fills it.

    Attributes:
        globals: The values of the global options.
        environ: The environment.
        output: Where results go.
        is_resumable: Whether the same command line, run again, goes on where it stopped.
    """

    globals: Globals = field(default_factory=Globals)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    output: Output = field(default_factory=Output)
    is_resumable: bool = False
    _loaded: LoadedConfig | None = None
    _client: "Client | None" = None
    _progress: "Progress | None" = None

    def begin(self, *, is_resumable: bool, is_tolerant: bool) -> None:
        """Read the settings and set up output and log; called once, before the command runs.

        Args:
            is_resumable: Whether the command resumes.
            is_tolerant: Whether the command must run although the settings cannot be read, as
                those must that repair them.
        """
        from deltareg_cli.terminal.logs import start_log  # pages of help have no log

        self.is_resumable = is_resumable
        options = self.globals
        start_log(verbose=max(options.verbose - 1, 2 * options.debug), form=options.log_format)
        self.output.is_quiet = options.quiet
        self.output.is_verbose = options.verbose > 0
        self.output.has_colour = not (options.no_color or self.environ.get("NO_COLOR"))
        try:
            self.output.format = self.config.output
        except InvalidInput:
            if not is_tolerant:
                raise

    @property
    def loaded(self) -> LoadedConfig:
        """The settings and where they come from, read once."""
        if self._loaded is None:
            self._loaded = load_config(
                flags=self.globals.flags(), environ=self.environ, request_id=self.globals.request_id
            )
        return self._loaded

    @property
    def config(self) -> ClientConfig:
        """The settings."""
        return self.loaded.config

    @property
    def client(self) -> "Client":
        """The client, opened on first use and closed by `end`."""
        if self._client is None:
            from deltareg.client import Client  # what `--help` need not load
            from deltareg_cli.terminal.progress import open_progress

            self._progress = open_progress(self.output, self.config)
            self._client = Client(self.config, progress=self._progress)
        return self._client

    def log_in_with(self, token: str) -> "Client":
        """Return a client that uses a token which the user gives for this server, from here on."""
        self.end()
        config = replace(self.config, token=token, named_in="", withheld=("", ""))
        self._loaded = replace(self.loaded, config=config)
        return self.client

    @property
    def now(self) -> datetime:
        """The time that relative times are relative to."""
        return datetime.now(UTC)

    @property
    def may_ask(self) -> bool:
        """Whether there is a person to ask."""
        is_automatic = self.globals.no_input or self.output.is_for_scripts
        return not is_automatic and not self.environ.get("CI") and is_terminal(sys.stdin)

    def confirm(self, question: str) -> None:
        """Go on only if the user confirms, at the prompt or with `--yes`.

        Raises:
            InvalidInput: There is nobody to ask.
            click.Abort: The user says no.
        """
        if self.globals.yes:
            return
        if not self.may_ask:
            raise InvalidInput(f"{question} Nobody is there to ask", fix="say yes beforehand: --yes")
        click.confirm(question, abort=True, err=True)

    def end(self) -> None:
        """Close everything that is open; may be called twice."""
        if self._progress is not None:
            from deltareg_cli.terminal.progress import close_progress

            close_progress(self._progress)
            self._progress = None
        if self._client is not None:
            self._client.close()
            self._client = None
