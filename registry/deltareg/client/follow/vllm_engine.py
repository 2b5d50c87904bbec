"""Engine `vllm`: LoRA adapters that a vLLM server loads and unloads while it runs.

It speaks vLLM's documented runtime endpoints, `POST /v1/load_lora_adapter` and
`/v1/unload_lora_adapter`, which are there when the server was started with `--enable-lora` and
VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, and looks with `GET /v1/models`. Loading another adapter under a
name that is loaded is refused by vLLM, and where it is forced, answers from the prefix cache of the
old one may be given; so every version has a name of its own, which is loaded once.

The old version is unloaded a while after the new one is loaded. vLLM finishes what is in flight;
it may read the folder of such an adapter once more, which is why the folder stays that long, too.
"""

import logging
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from deltareg.client.follow.release import Followed, Release
from deltareg.errors import Conflict, InvalidInput, NotFound, Unavailable
from deltareg.host.lean_httpx import httpx
from deltareg.wire import EngineName

log = logging.getLogger(__name__)
_NOT_FOUND = 404
_LOOK_TIMEOUT_S, _LOAD_TIMEOUT_S = 10.0, 300.0
_SETTINGS = "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"


class _Model(BaseModel):
    id: str
    root: str | None = None
    parent: str | None = None


class _Models(BaseModel):
    data: list[_Model] = []


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
        self._versions = versions.absolute()
        self._drain_s, self._clock = drain_s, clock
        self._unwanted: dict[str, float] = {}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_LOOK_TIMEOUT_S)
        self._url = url

    def versions(self, followed: Followed) -> Path:
        """Give the one folder of all channels."""
        return self._versions

    def serves(self, followed: Followed, release: Release) -> bool:
        """Whether vLLM has it loaded.

        Raises:
            Conflict: It has something else loaded under that name.
        """
        root = self._loaded().get(release.name)
        if root is not None and Path(root).name != release.folder:
            raise Conflict(
                f"vLLM serves another adapter as {release.name}: {root}",
                fix=f"unload it there: POST {self._url}/v1/unload_lora_adapter",
            )
        return root is not None

    def serve(self, followed: Followed, release: Release, folder: Path) -> str:
        """Load it, unless it is loaded."""
        self._unwanted.pop(release.name, None)
        if not self.serves(followed, release):
            body = {"lora_name": release.name, "lora_path": str(folder.absolute())}
            answer = self._send("load_lora_adapter", body)
            # A load whose answer was lost is refused the second time, and is as good.
            if answer.is_error and not self.serves(followed, release):
                raise self._refusal("load", release.name, answer)
        return release.name

    def settle(self, wanted: Collection[Release]) -> bool:
        """Unload what is ours and was wanted by nobody for the time to drain."""
        names = {release.name for release in wanted}
        ours = {name for name, root in self._loaded().items() if self._is_ours(name, root)}
        now = self._clock()
        self._unwanted = {
            name: self._unwanted.get(name, now + self._drain_s) for name in ours - names
        }
        for name in [name for name, due in self._unwanted.items() if due <= now]:
            answer = self._send("unload_lora_adapter", {"lora_name": name})
            if answer.is_error and answer.status_code != _NOT_FOUND:
                raise self._refusal("unload", name, answer)
            log.info("unloaded name=%s", name)
            del self._unwanted[name]
        return not self._unwanted

    def holds(self, versions: Path) -> Collection[str]:
        """Give the folders that vLLM was told of."""
        return {Path(root).name for root in self._loaded().values()}

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _loaded(self) -> dict[str, str]:
        """Give the adapters that vLLM has, each with its path; base models have no parent."""
        answer = self._ask("GET", "/v1/models", timeout_s=_LOOK_TIMEOUT_S)
        if answer.is_error:
            raise self._refusal("list", "its models", answer)
        try:
            found = _Models.model_validate_json(answer.content)
        except ValidationError as error:
            raise InvalidInput(
                f"{self._url} is no vLLM server", fix="name another: --url"
            ) from error
        return {model.id: model.root or "" for model in found.data if model.parent is not None}

    def _is_ours(self, name: str, root: str) -> bool:
        path = Path(root)
        return path.parent == self._versions and path.name.startswith(f"{name}-")

    def _send(self, verb: str, body: dict[str, str]) -> httpx.Response:
        return self._ask("POST", f"/v1/{verb}", body=body, timeout_s=_LOAD_TIMEOUT_S)

    def _ask(
        self, method: str, path: str, *, timeout_s: float, body: dict[str, str] | None = None
    ) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body, timeout=timeout_s)
        except httpx.HTTPError as error:
            raise Unavailable(
                f"vLLM at {self._url} does not answer: {error}",
                fix="start it, or name another: --url",
            ) from error

    def _refusal(self, verb: str, name: str, answer: httpx.Response) -> Exception:
        text = f"vLLM did not {verb} {name}: {answer.status_code} {_message(answer)}".rstrip()
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return InvalidInput(text, fix="set VLLM_API_KEY to the key that vLLM was started with")
        if answer.is_server_error:
            return Unavailable(text, fix="look at the log of vLLM")
        if answer.status_code == _NOT_FOUND and not _is_of_vllm(answer):
            return NotFound(f"vLLM at {self._url} has no {answer.request.url.path}", fix=_SETTINGS)
        return InvalidInput(text, fix="look at the log of vLLM; it serves LoRA alone")


class _Told(BaseModel):
    message: str = ""
    error: "_Told | None" = None


def _message(answer: httpx.Response) -> str:
    """Read what vLLM says, which newer releases put one level lower."""
    try:
        told = _Told.model_validate_json(answer.content)
    except ValidationError:
        return ""
    return ((told.error or told).message)[:500]


def _is_of_vllm(answer: httpx.Response) -> bool:
    """Whether vLLM itself says that something is missing, and not that it has no such route."""
    return bool(_message(answer))


def token_of_vllm() -> str | None:
    """Give the key that vLLM's own programs take, where it is set."""
    return os.environ.get("VLLM_API_KEY") or None
