"""Engine `vllm`: the documented runtime endpoints of a vLLM server.

`POST /v1/load_lora_adapter` and `/v1/unload_lora_adapter` are there when the server was started
with `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1. Loading another adapter under a loaded
name is refused; if it is forced, answers may come from the old one's prefix cache. Requests in
flight are answered when their adapter is unloaded. The folder of a loaded adapter is read again
whenever it was evicted; if it is gone then, the engine crashes for all clients.
"""

import os
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from deltareg.client.follow.adapter_server import LOAD_TIMEOUT_S, LOOK_TIMEOUT_S, AdapterListing
from deltareg.client.follow.vllm_refusals import refusal
from deltareg.errors import InvalidInput, Unavailable
from deltareg.host.lean_httpx import httpx
from deltareg.wire import EngineName

_NOT_FOUND, _UNHEALTHY = 404, 503


class _Model(BaseModel):
    id: str
    root: str | None = None
    parent: str | None = None


class _Models(BaseModel):
    data: list[_Model] = []


class VllmServer:
    """One vLLM server."""

    name: ClassVar[EngineName] = "vllm"
    title: ClassVar[str] = "vLLM"

    def __init__(self, url: str, *, token: str | None = None) -> None:
        """Prepare; no request is sent yet.

        Args:
            url: The server's address.
            token: The server's API key, if it was started with one.
        """
        self.is_lost = True
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=LOOK_TIMEOUT_S)
        self.url = url

    def list_adapters(self) -> AdapterListing:
        """Check its health, then list its models: it still lists them for a while after a crash."""
        self.is_lost = True
        if self._ask("GET", "/health", timeout_s=LOOK_TIMEOUT_S).status_code == _UNHEALTHY:
            raise Unavailable(f"vLLM at {self.url} is not healthy", fix="start it again; its log says why")
        listing = self.models()
        self.is_lost = False
        return listing

    def models(self) -> AdapterListing:
        """List its models, whether it is healthy or not."""
        answer = self._ask("GET", "/v1/models", timeout_s=LOOK_TIMEOUT_S)
        if answer.is_error:
            raise refusal("list its models", self.url, answer)
        return read_models(answer, f"{self.url} is no vLLM server")

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter."""
        body = {"lora_name": name, "lora_path": str(folder.absolute())}
        answer = self._send("load_lora_adapter", body)
        if answer.is_error:
            raise refusal(f"load {name}", self.url, answer)

    def unload(self, name: str) -> None:
        """Unload an adapter."""
        answer = self._send("unload_lora_adapter", {"lora_name": name})
        if answer.is_error and answer.status_code != _NOT_FOUND:
            raise refusal(f"unload {name}", self.url, answer)

    def unload_by_hand(self, name: str) -> str:
        """Return the route that unloads it."""
        return f"unload it there: POST {self.url}/v1/unload_lora_adapter"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _send(self, verb: str, body: dict[str, str]) -> httpx.Response:
        return self._ask("POST", f"/v1/{verb}", body=body, timeout_s=LOAD_TIMEOUT_S)

    def _ask(self, method: str, path: str, *, timeout_s: float, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body, timeout=timeout_s)
        except httpx.HTTPError as error:
            self.is_lost = True
            raise Unavailable(
                f"vLLM at {self.url} does not answer: {error}", fix="start it, or name another: --url"
            ) from error


def read_models(answer: httpx.Response, else_told: str) -> AdapterListing:
    """Read the list of `/v1/models`, where each adapter has a parent and a path.

    Raises:
        InvalidInput: It is not such a list; `else_told` is the message.
    """
    try:
        models = _Models.model_validate_json(answer.content).data
    except ValidationError as error:
        raise InvalidInput(else_told, fix="name another: --url") from error
    bases = [model for model in models if model.parent is None]
    return AdapterListing(
        {model.id: model.root or "" for model in models if model.parent is not None},
        frozenset(model.id for model in bases),
        next((model.root for model in bases if model.root), ""),
    )


def token_of_vllm() -> str | None:
    """Return the key that vLLM's own programs take from the environment."""
    return os.environ.get("VLLM_API_KEY") or None
