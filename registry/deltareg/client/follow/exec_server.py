"""Engine `exec`: commands that list, load and unload, for engines without a driver here.

::

    LIST              {"adapters": [{"name": …, "path": …}], "base": "/path", "served_as": ["name"]}
    LOAD    < {"name": "ns--name--v3", "path": "/srv/…/ns--name--v3-4f2a19c0d3b1"}
    UNLOAD  < {"name": "ns--name--v3", "path": …}

A command gets its task as JSON on standard input; only the output of LIST is read. It exits with 0
on success, with 75 if trying again may help, and with anything else if it would fail again; the
reason is the last line on standard error. The commands do not run in a shell.
"""

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from deltareg.client.follow.adapter_server import LOAD_TIMEOUT_S, LOOK_TIMEOUT_S, AdapterListing
from deltareg.errors import Conflict, InvalidInput, Unavailable
from deltareg.wire import EngineName

_MOST_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class ExecCommands:
    """The three commands, each as one line.

    Attributes:
        list: Lists what is loaded.
        load: Loads an adapter.
        unload: Unloads an adapter.
    """

    list: str
    load: str
    unload: str


class _Adapter(BaseModel):
    name: str
    path: str = ""


class _Told(BaseModel):
    adapters: list[_Adapter]
    base: str = ""
    served_as: list[str] = []


class ExecServer:
    """An engine that is driven by commands."""

    name: ClassVar[EngineName] = "exec"
    title: ClassVar[str] = "the engine"

    def __init__(self, commands: ExecCommands) -> None:
        """Prepare; no command is run yet.

        Raises:
            InvalidInput: A command is empty, or has an unclosed quote.
        """
        self.is_lost = True
        self._list = _words("--list", commands.list)
        self._load = _words("--load", commands.load)
        self._unload = _words("--unload", commands.unload)
        self._unload_line = commands.unload

    def list_adapters(self) -> AdapterListing:
        """Run LIST."""
        self.is_lost = True
        output = self._run(self._list, None, timeout_s=LOOK_TIMEOUT_S)
        try:
            document = _Told.model_validate_json(output)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InvalidInput(
                f"{self._list[0]} lists no adapters: {f'{place}: ' if place else ''}{first['msg']}",
                fix='have it write {"adapters": [{"name": …, "path": …}], "base": …}',
            ) from error
        self.is_lost = False
        paths = {adapter.name: adapter.path for adapter in document.adapters}
        return AdapterListing(paths, frozenset(document.served_as), document.base)

    def load(self, name: str, folder: Path) -> None:
        """Run LOAD, unless LIST has the name."""
        if name in self.list_adapters().adapters:
            raise Conflict(f"{name} is loaded already")
        request = {"name": name, "path": str(folder.absolute())}
        self._run(self._load, request, timeout_s=LOAD_TIMEOUT_S)

    def unload(self, name: str) -> None:
        """Run UNLOAD, if LIST has the name."""
        path = self.list_adapters().adapters.get(name)
        if path is not None:
            self._run(self._unload, {"name": name, "path": path}, timeout_s=LOAD_TIMEOUT_S)

    def unload_by_hand(self, name: str) -> str:
        """Return the command that unloads it."""
        return f"unload it there: echo '{json.dumps({'name': name})}' | {self._unload_line}"

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _run(self, words: Sequence[str], asked: Mapping[str, str] | None, *, timeout_s: float) -> bytes:
        try:
            # The command is the one that whoever started the agent has named.
            process = subprocess.run(  # noqa: S603
                words,
                input=b"" if asked is None else json.dumps(asked).encode(),
                capture_output=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            self.is_lost = True
            raise Unavailable(
                f"{words[0]} has not ended after {timeout_s:.0f} s", fix="find out what it waits for"
            ) from error
        except OSError as error:
            raise InvalidInput(
                f"{words[0]} cannot be run: {error.strerror}", fix="name a program that can be run"
            ) from error
        if process.returncode == 0:
            return process.stdout
        lines = process.stderr.decode(errors="replace").strip().splitlines()
        why = lines[-1][:_MOST_CHARACTERS] if lines else "it said nothing"
        text = f"{words[0]} ended with {process.returncode}: {why}"
        if process.returncode == os.EX_TEMPFAIL:
            raise Unavailable(text, fix="try again; the command says that this may help")
        raise InvalidInput(text, fix=f"run it by hand: {shlex.join(words)}")


def _words(flag: str, line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidInput(f"{flag} {line[:120]!r}: {error}", fix="end its quotes") from error
    if not words:
        raise InvalidInput(f"{flag} names no command", fix=f"{flag} '/usr/local/bin/adapters'")
    return words
