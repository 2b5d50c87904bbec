"""Engine `vllm`: LoRA adapters that a vLLM server loads and unloads while it runs.

It speaks vLLM's documented runtime endpoints, `POST /v1/load_lora_adapter` and
`/v1/unload_lora_adapter`, which are there when the server was started with `--enable-lora` and
VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, and looks with `GET /v1/models`. Loading another adapter under a
name that is loaded is refused by vLLM, and where it is forced, answers from the prefix cache of the
old one may be given; so every version has a name of its own, which is loaded once.

The old version is unloaded a while after the new one is loaded. vLLM finishes what is in flight;
it may read the folder of such an adapter once more, which is why the folder stays that long, too:
a folder that is gone when vLLM comes back to it ends its engine, for everybody.
"""

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from deltareg.client.follow.engine import Claims, Settled
from deltareg.client.follow.release import Followed, Release, belongs_to
from deltareg.client.follow.vllm_refusals import refusal
from deltareg.errors import Conflict, DeltaregError, InvalidInput, Unavailable
from deltareg.host.lean_httpx import httpx
from deltareg.wire import EngineName

log = logging.getLogger(__name__)
_NOT_FOUND, _UNHEALTHY = 404, 503
_LOOK_TIMEOUT_S, _LOAD_TIMEOUT_S = 10.0, 300.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0
_MOST_TRIES = 8


class _Model(BaseModel):
    id: str
    root: str | None = None
    parent: str | None = None


class _Models(BaseModel):
    data: list[_Model] = []


@dataclass(slots=True)
class _Kept:
    """An adapter that vLLM did not let go of."""

    why: str
    due: float
    pause_s: float


@dataclass(slots=True)
class _State:
    """What vLLM has, as of the last look.

    Attributes:
        adapters: The path of each adapter, by its name.
        bases: The names that its base is served under.
        base: The path or id that the base was started with.
    """

    adapters: dict[str, str] = field(default_factory=dict[str, str])
    bases: frozenset[str] = frozenset()
    base: str = ""


class VllmEngine:
    """Keeps the adapters of one vLLM server."""

    name: ClassVar[EngineName] = "vllm"

    def __init__(
        self,
        url: str,
        versions: Path,
        *,
        drain_s: float,
        token: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            url: Where vLLM listens.
            versions: The folder of versions, which vLLM must see under the same path.
            drain_s: How long an old version stays loaded once a newer one is served.
            token: What vLLM wants to see, where it was started with an API key.
            clock: Gives seconds that only grow.
        """
        self.starts = 0
        self._versions = versions.absolute()
        self._drain_s, self._clock = drain_s, clock
        self._unwanted: dict[str, float] = {}
        self._kept: dict[str, _Kept] = {}
        self._spent: set[str] = set()
        self._state, self._is_lost = _State(), True
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_LOOK_TIMEOUT_S)
        self._url = url

    def look(self) -> None:
        """List its models; one that was away, or has lost an adapter of ours, has started anew."""
        was_lost, before = self._is_lost, self._state
        self._is_lost = True
        self._check_health()
        self._state = self._list()
        self._is_lost = False
        ours = {name for name, root in before.adapters.items() if self._is_ours(name, root)}
        is_less = not ours <= self._state.adapters.keys()
        if was_lost or is_less or before.base != self._state.base:
            self.starts += 1
            self._kept.clear()
            if was_lost and not ours & self._state.adapters.keys():
                self._spent.clear()  # a new process remembers no answers

    def base(self) -> str:
        """Give what vLLM was started with: a path, or an id of the hub."""
        return self._state.base

    def versions(self, followed: Followed) -> Path:
        """Give the one folder of all channels."""
        return self._versions

    def serves(self, followed: Followed, release: Release) -> bool:
        """Whether vLLM has it loaded, under whatever name of ours."""
        return self._serving(release) is not None

    def serve(self, followed: Followed, release: Release, folder: Path) -> str:
        """Load it, unless it is loaded, under the first of its names that is nobody else's."""
        for name in self._free_names(release):
            if self.serves(followed, release):
                break
            body = {"lora_name": name, "lora_path": str(folder.absolute())}
            answer = self._send("load_lora_adapter", body)
            if answer.is_success:
                self._state.adapters[name] = body["lora_path"]
                return name
            error = refusal(f"load {name}", self._url, answer)
            # A load whose answer was lost is refused the second time, and is as good.
            if not isinstance(error, Conflict):
                raise error
            self._state = self._list()
        found = self._serving(release)
        if found is None:
            raise self._taken(release)
        self._unwanted.pop(found, None)
        return found

    def drop(self, versions: Path, folder: str) -> None:
        """Unload it without a time to drain."""
        for name in self._names_of(folder):
            self._unload(name)

    def renew(self, versions: Path, folder: str) -> None:
        """Load it under another name the next time; the one before drains then.

        Of a name that is unloaded and loaded again vLLM may answer from what it has computed.
        """
        self._spent |= self._names_of(folder)

    def settle(self, claims: Claims) -> Settled:
        """Unload what is ours and was wanted by nobody for the time to drain.

        One that vLLM keeps does not hold up the others; it is asked again, ever more seldom.
        """
        now = self._clock()
        wanted = {release.folder for release in claims.releases}
        unwanted = {
            name: self._folder(name)
            for name, root in self._state.adapters.items()
            if self._is_ours(name, root) and (Path(root).name not in wanted or name in self._spent)
        }
        due = {
            name: self._unwanted.get(name, now + self._drain_s)
            for name, folder in unwanted.items()
            if not any(belongs_to(folder, line) for line in claims.lines)
        }
        self._unwanted = due
        for name in [name for name, moment in due.items() if moment <= now]:
            self._let_go(name, now)
        refused = {self._folder(name): kept.why for name, kept in self._kept.items()}
        is_over = all(name in self._kept for name in self._unwanted)
        return Settled(is_over, refused)

    def holds(self, versions: Path) -> Collection[str]:
        """Give the folders that vLLM was told of."""
        return {Path(root).name for root in self._state.adapters.values()}

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _let_go(self, name: str, now: float) -> None:
        kept = self._kept.get(name)
        if kept is not None and now < kept.due:
            return
        try:
            self._unload(name)
        except DeltaregError as error:
            pause_s = _FIRST_PAUSE_S if kept is None else min(kept.pause_s * 2, _LONGEST_PAUSE_S)
            self._kept[name] = _Kept(error.message, now + pause_s, pause_s)

    def _unload(self, name: str) -> None:
        answer = self._send("unload_lora_adapter", {"lora_name": name})
        if answer.is_error and answer.status_code != _NOT_FOUND:
            raise refusal(f"unload {name}", self._url, answer)
        log.info("unloaded name=%s", name)
        self._state.adapters.pop(name, None)
        self._unwanted.pop(name, None)
        self._kept.pop(name, None)

    def _free_names(self, release: Release) -> Iterator[str]:
        """Give the names that nobody has taken and that were not spent."""
        more = (f"{release.folder}-{number}" for number in range(2, _MOST_TRIES))
        for name in (*release.names, *more):
            is_taken = name in self._state.bases or name in self._state.adapters
            if not is_taken and name not in self._spent:
                yield name

    def _taken(self, release: Release) -> Conflict:
        root = self._state.adapters.get(release.name, "the base")
        return Conflict(
            f"vLLM serves something else as {release.name} and as all that it could be: {root}",
            fix=f"unload it there: POST {self._url}/v1/unload_lora_adapter",
        )

    def _serving(self, release: Release) -> str | None:
        names = self._names_of(release.folder) - self._spent
        return min(names, key=lambda name: (len(name), name), default=None)

    def _names_of(self, folder: str) -> set[str]:
        """Give the names under which vLLM has what is in a folder of ours."""
        return {
            name
            for name, root in self._state.adapters.items()
            if Path(root) == self._versions / folder and self._is_ours(name, root)
        }

    def _folder(self, name: str) -> str:
        return Path(self._state.adapters.get(name, "")).name

    def _is_ours(self, name: str, root: str) -> bool:
        path = Path(root)
        is_named_so = f"{path.name}-".startswith(f"{name}-") or name.startswith(f"{path.name}-")
        return path.parent == self._versions and is_named_so

    def _check_health(self) -> None:
        """Find out whether its engine runs; its list of models is given a while longer."""
        answer = self._ask("GET", "/health", timeout_s=_LOOK_TIMEOUT_S)
        if answer.status_code == _UNHEALTHY:
            raise Unavailable(
                f"vLLM at {self._url} is not healthy", fix="start it again; its log says why"
            )

    def _list(self) -> _State:
        answer = self._ask("GET", "/v1/models", timeout_s=_LOOK_TIMEOUT_S)
        if answer.is_error:
            raise refusal("list its models", self._url, answer)
        try:
            found = _Models.model_validate_json(answer.content).data
        except ValidationError as error:
            raise InvalidInput(
                f"{self._url} is no vLLM server", fix="name another: --url"
            ) from error
        bases = [model for model in found if model.parent is None]  # an adapter has a parent
        return _State(
            {model.id: model.root or "" for model in found if model.parent is not None},
            frozenset(model.id for model in bases),
            next((model.root for model in bases if model.root), ""),
        )

    def _send(self, verb: str, body: dict[str, str]) -> httpx.Response:
        return self._ask("POST", f"/v1/{verb}", body=body, timeout_s=_LOAD_TIMEOUT_S)

    def _ask(
        self, method: str, path: str, *, timeout_s: float, body: dict[str, str] | None = None
    ) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body, timeout=timeout_s)
        except httpx.HTTPError as error:
            self._is_lost = True
            raise Unavailable(
                f"vLLM at {self._url} does not answer: {error}",
                fix="start it, or name another: --url",
            ) from error


def token_of_vllm() -> str | None:
    """Give the key that vLLM's own programs take, where it is set."""
    return os.environ.get("VLLM_API_KEY") or None
