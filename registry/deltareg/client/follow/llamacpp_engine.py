"""Engine `llamacpp`: the adapters that a `llama-server` was started with, switched by their scales.

::

    DIR/versions/ns--name--v3-<12 hex>/             as it was pushed
    DIR/gguf/ns--name--v3-<12 hex>/adapter.gguf     the same for llama.cpp
    DIR/lora.args                                   the options to start llama-server with

llama.cpp loads adapters only when it starts. `GET` and `POST /lora-adapters` read and set the scale
of each, from zero to full, for every request that does not set it itself. The options in the file
apply the right one from the first request on.

A change of scales leaves the prompts that llama.cpp keeps as they are: whoever sends a prompt again
gets the answer of the version before (24 of 48 answers right, build 10434, with its defaults). So a
switch is a restart, unless the server was started with `--no-cache-prompt`, which one short prompt
that is asked twice shows; then a switch between loaded versions is a change of scales.
"""

import logging
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from deltareg.client.disk.whole_folder import sync
from deltareg.client.follow.adapter_server import LOAD_TIMEOUT_S, LOOK_TIMEOUT_S
from deltareg.client.follow.engine import ServingClaims, SettleOutcome
from deltareg.client.follow.release import FollowedChannel, Release
from deltareg.errors import Conflict, InvalidInput, Unavailable
from deltareg.host.lean_httpx import httpx
from deltareg.wire import EngineName

log = logging.getLogger(__name__)
FILE, ARGUMENTS = "adapter.gguf", "lora.args"
_SHORT_PROMPT = list(range(3, 19))  # tokens that every vocabulary has
_SEPARATORS = frozenset(",:")
_UNHEALTHY = 503


class _Adapter(BaseModel):
    id: int
    path: str
    scale: float


class _Timings(BaseModel):
    cache_n: int


class _Completion(BaseModel):
    timings: _Timings


_ADAPTERS = TypeAdapter(list[_Adapter])


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """What the engine needs beside the address.

    Attributes:
        convert: Converts the delta in a folder to llama.cpp's layout, into a new folder.
        restart: A command that restarts the server; empty if somebody does so by hand.
        token: The server's API key, if it was started with one.
    """

    convert: Callable[[Path, Path], object]
    restart: str = ""
    token: str | None = None


class LlamaEngine:
    """Keeps one `llama-server` on one channel."""

    def __init__(self, url: str, home: Path, options: LlamaOptions) -> None:
        """Prepare; no request is sent yet.

        Args:
            url: The server's address.
            home: The folder for versions; the server must see it under the same path.
            options: What it needs beside these.

        Raises:
            InvalidInput: The server's options could not name files in that folder.
        """
        if _SEPARATORS & set(str(home.absolute())):
            raise InvalidInput(
                f"llama-server takes no paths with a comma or a colon: {home.absolute()}", fix="name another --dir"
            )
        self.name: EngineName = "llamacpp"
        self.starts = 0
        self._home, self._options, self._url = home.absolute(), options, url
        self._adapters: Sequence[_Adapter] = ()
        self._is_lost = True
        self._asked_for: str | None = None
        self._keeps: bool | None = None
        headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=LOOK_TIMEOUT_S)

    def look(self) -> None:
        """List its adapters with their scales."""
        was_lost, before = self._is_lost, [(one.id, one.path) for one in self._adapters]
        self._is_lost = True
        if self._ask("GET", "/health").status_code == _UNHEALTHY:
            raise Unavailable(f"llama-server at {self._url} is not ready", fix="wait until it has its model")
        self._adapters = self._list()
        self._is_lost = False
        if was_lost or before != [(one.id, one.path) for one in self._adapters]:
            self.starts += 1
            self._asked_for = self._keeps = None

    def base(self) -> str:
        """Return nothing: the server cannot tell which base its one file was made from."""
        return ""

    def versions(self, followed: FollowedChannel) -> Path:
        """Return `DIR/versions`."""
        return self._home / "versions"

    def serves(self, followed: FollowedChannel, release: Release) -> bool:
        """Whether the version is applied at full scale."""
        return any(one.scale == 1 for one in self._of(release.folder))

    def serve(self, followed: FollowedChannel, release: Release, folder: Path) -> str:
        """Apply the version and no other of ours; restart the server if it is not loaded, or keeps prompts."""
        self._make(folder)
        self._write_arguments(folder.name)
        if not self._of(folder.name):
            raise self._due(folder.name, "was not started with it")
        adapter = self._of(folder.name)[0]
        scales = {one.id: float(one is adapter) for one in self._ours()}
        if all(one.scale == scales[one.id] for one in self._ours()):
            return release.name
        if self._keeps_prompts():
            raise self._due(folder.name, "keeps prompts, and would answer them as before")
        self._apply(scales)
        return release.name

    def drop(self, versions: Path, folder: str) -> None:
        """Stop applying the version."""
        self._stop_applying(self._of(folder))

    def renew(self, versions: Path, folder: str) -> None:
        """Have its file converted again, as it may have been made from other bytes."""
        shutil.rmtree(self._home / "gguf" / folder, ignore_errors=True)

    def settle(self, claims: ServingClaims) -> SettleOutcome:
        """Stop applying what nobody claims, and remove files without a version."""
        claimed = {release.folder for release in claims.releases}
        if not claims.lines:
            stray = [one for one in self._ours() if one.scale and _name(one) not in claimed]
            self._stop_applying(stray)
        self._take_away({_name(one) for one in self._ours()})
        return SettleOutcome()

    def holds(self, versions: Path) -> Collection[str]:
        """Return the folders that are applied."""
        return {_name(one) for one in self._ours() if one.scale}

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _make(self, folder: Path) -> None:
        """Convert a version's file if it is missing; it appears whole, by a rename."""
        target = self._home / "gguf" / folder.name
        if (target / FILE).exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.next")  # one name: what a kill leaves is taken away
        shutil.rmtree(draft, ignore_errors=True)
        self._options.convert(folder, draft)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        sync(target.parent)

    def _write_arguments(self, wanted: str) -> None:
        """Write the server's start options: the wanted version applied, all others not."""
        names = sorted(path.parent.name for path in (self._home / "gguf").glob(f"*/{FILE}"))
        present = [name for name in names if (self._home / "versions" / name).exists()]
        ordered = [*([wanted] if wanted else []), *(name for name in present if name != wanted)]
        scaled = [f"{self._file(name)}:{int(name == wanted)}" for name in ordered]
        text = f"--lora-scaled {shlex.quote(','.join(scaled))}\n" if scaled else ""
        if text == self._arguments():
            return
        target = self._home / ARGUMENTS
        draft = target.with_name(f".{target.name}.next")
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
        sync(self._home)

    def _stop_applying(self, adapters: Sequence[_Adapter]) -> None:
        """Set scales to zero at once, and restart a server that keeps prompts if there is a command for it."""
        applied = [one for one in adapters if one.scale]
        self._apply({one.id: 0.0 for one in applied})
        if not applied or not self._keeps_prompts():
            return
        self._write_arguments(next((_name(one) for one in self._ours() if one.scale), ""))
        if self._options.restart:
            self._restart()
        else:
            log.warning("llama-server keeps prompts of %s; start it again", ", ".join(map(_name, applied)))

    def _keeps_prompts(self) -> bool:
        """Whether the server answers from prompts of before, unless a request says that it shall not.

        A server that answers in another way is taken for one that does.
        """
        if self._keeps is None:
            body = {"prompt": _SHORT_PROMPT, "n_predict": 0}
            self._ask("POST", "/completion", body=body)
            answer = self._ask("POST", "/completion", body=body)
            try:
                self._keeps = _Completion.model_validate_json(answer.content).timings.cache_n > 0
            except ValidationError:
                self._keeps = True
        return self._keeps

    def _due(self, wanted: str, why: str) -> Unavailable | Conflict:
        """Restart the server once for each version, or return the error that says it has to be."""
        message = f"llama-server at {self._url} does not serve {wanted}: it {why}"
        if not self._options.restart:
            return Conflict(message, fix=f"start it again: llama-server -m … $(cat {self._home / ARGUMENTS})")
        if self._asked_for != wanted:
            self._asked_for = wanted
            log.info("restart=%s for=%s", self._options.restart, wanted)
            self._restart()
        return Unavailable(f"{message}; it is started again", fix="wait until it has its model")

    def _restart(self) -> None:
        words = shlex.split(self._options.restart)
        try:
            # The command is the one that whoever started the agent has named.
            process = subprocess.run(  # noqa: S603
                words, capture_output=True, check=False, timeout=LOAD_TIMEOUT_S, env=os.environ
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InvalidInput(f"--restart failed: {error}", fix="run it by hand") from error
        if process.returncode:
            lines = process.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise InvalidInput(
                f"--restart ended with {process.returncode}: {lines[-1][:500]}",
                fix=f"run it by hand: {self._options.restart}",
            )

    def _take_away(self, loaded: Collection[str]) -> None:
        """Remove the files of versions that are not kept; the server starts without them."""
        arguments = self._arguments()
        for folder in (self._home / "gguf").glob("*"):
            is_kept = (self._home / "versions" / folder.name).exists()
            if not is_kept and folder.name not in loaded and str(folder) not in arguments:
                shutil.rmtree(folder, ignore_errors=True)

    def _arguments(self) -> str:
        try:
            return (self._home / ARGUMENTS).read_text(encoding="utf-8")
        except OSError:
            return ""

    def _apply(self, scales: dict[int, float]) -> None:
        """Set scales; all others are sent along, since the server would set them to zero."""
        after = {one.id: scales.get(one.id, one.scale) for one in self._adapters}
        if after == {one.id: one.scale for one in self._adapters}:
            return
        body = [{"id": number, "scale": scale} for number, scale in sorted(after.items())]
        answer = self._ask("POST", "/lora-adapters", body=body)
        if answer.is_error:
            raise InvalidInput(
                f"llama-server did not apply an adapter: {answer.status_code} {answer.text[:500]}",
                fix="look at its log",
            )
        self._adapters = self._list()

    def _list(self) -> list[_Adapter]:
        answer = self._ask("GET", "/lora-adapters")
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise InvalidInput(f"llama-server at {self._url} wants a key", fix="set LLAMA_API_KEY to its --api-key")
        try:
            return _ADAPTERS.validate_json(answer.content)
        except ValidationError as error:
            raise InvalidInput(f"{self._url} is no llama-server", fix="name another: --url") from error

    def _of(self, folder: str) -> list[_Adapter]:
        return [one for one in self._adapters if one.path == self._file(folder)]

    def _ours(self) -> list[_Adapter]:
        return [one for one in self._adapters if one.path == self._file(_name(one))]

    def _file(self, folder: str) -> str:
        return str(self._home / "gguf" / folder / FILE)

    def _ask(self, method: str, path: str, *, body: object = None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            self._is_lost = True
            raise Unavailable(
                f"llama-server at {self._url} does not answer: {error}",
                fix=f"start it: llama-server -m … $(cat {self._home / ARGUMENTS})",
            ) from error


def _name(adapter: _Adapter) -> str:
    return Path(adapter.path).parent.name


def token_of_llama() -> str | None:
    """Return the key that llama-server itself takes from the environment."""
    return os.environ.get("LLAMA_API_KEY") or None
