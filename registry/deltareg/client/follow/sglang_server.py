"""Engine `sglang`: the routes of an SGLang server that load and unload LoRA adapters.

`POST /load_lora_adapter` and `/unload_lora_adapter` are there when the server was started with
`--enable-lora`, `--max-lora-rank` and `--lora-target-modules`; they answer 200 or 400 with
`{success, error_message, loaded_adapters}`. `GET /v1/models` lists adapters as vLLM does, but names
the base by its served name; its origin is in `/model_info`. An adapter lies in memory whole, so its
folder is not read again unless it was evicted. Unloading waits for the requests that use the
adapter. As read in the source of 0.5.23.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ValidationError

from deltareg.client.follow.adapter_server import LOAD_TIMEOUT_S, LOOK_TIMEOUT_S, AdapterListing
from deltareg.client.follow.vllm_server import read_models
from deltareg.errors import Conflict, DeltaregError, InvalidInput, NotFound, Unavailable
from deltareg.host.lean_httpx import httpx
from deltareg.wire import EngineName

SETTINGS = "start SGLang with --enable-lora, --max-lora-rank and --lora-target-modules"
_NOT_FOUND, _UNHEALTHY = 404, 503
_MOST_CHARACTERS = 500
_NOT_LOADED = re.compile(r"does not exist|not loaded", re.IGNORECASE)
_ROWS: Sequence[tuple[re.Pattern[str], Callable[..., DeltaregError], str]] = tuple(
    (re.compile(words, re.IGNORECASE), error, fix)
    for words, error, fix in (
        (r"because it is already loaded", Conflict, "it is loaded already"),
        (r"LoRA is not enabled", InvalidInput, SETTINGS),
        (
            r"rank \S+ is incompatible with the current",
            InvalidInput,
            "start SGLang with a larger --max-lora-rank, and with the version's modules in --lora-target-modules",
        ),
        (
            r"support DoRA",
            InvalidInput,
            "SGLang serves no DoRA: train without it, or serve the merged model: deltareg materialize",
        ),
        (
            r"add tokens to the vocabulary",
            InvalidInput,
            "SGLang takes no trained tokens: serve the merged model: deltareg materialize",
        ),
        (
            r"data-parallel replicas",
            InvalidInput,
            "SGLang loads adapters in servers of their own alone: start it without --dp-size",
        ),
        (r"has an incomplete unload", Unavailable, "it is unloaded once what uses it is answered"),
        (
            r"Repo id must|repo_id|LocalEntryNotFound|offline",
            InvalidInput,
            "SGLang does not see the folder: give it the same path, and a user who may read it",
        ),
        (r"out of memory", Unavailable, "give SGLang room: a smaller --max-loras-per-batch"),
    )
)


class _Answer(BaseModel):
    success: bool
    error_message: str | None = None


class _ModelInfo(BaseModel):
    model_path: str


class SglangServer:
    """One SGLang server."""

    name: ClassVar[EngineName] = "sglang"
    title: ClassVar[str] = "SGLang"

    def __init__(self, url: str, *, token: str | None = None) -> None:
        """Prepare; no request is sent yet.

        Args:
            url: The server's address.
            token: The server's API key, if it was started with one.
        """
        self.is_lost = True
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=LOOK_TIMEOUT_S)
        self._url = url

    def list_adapters(self) -> AdapterListing:
        """Check its health, and list its models and the path of its base."""
        self.is_lost = True
        if self._ask("GET", "/health").status_code == _UNHEALTHY:
            raise Unavailable(f"SGLang at {self._url} is not healthy", fix="wait until it is, or start it again")
        is_none = f"{self._url} is no SGLang server"
        models = read_models(self._check_access(self._ask("GET", "/v1/models")), is_none)
        info = self._check_access(self._ask("GET", "/model_info"))
        try:
            base = _ModelInfo.model_validate_json(info.content).model_path
        except ValidationError as error:
            raise InvalidInput(is_none, fix="name another: --url") from error
        self.is_lost = False
        return AdapterListing(models.adapters, models.bases, base)

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter."""
        body = {"lora_name": name, "lora_path": str(folder.absolute())}
        self._change(f"load {name}", "/load_lora_adapter", body)

    def unload(self, name: str) -> None:
        """Unload an adapter."""
        try:
            self._change(f"unload {name}", "/unload_lora_adapter", {"lora_name": name})
        except DeltaregError as error:
            if _NOT_LOADED.search(error.message) is None:
                raise

    def unload_by_hand(self, name: str) -> str:
        """Return the route that unloads it."""
        return f"unload it there: POST {self._url}/unload_lora_adapter"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _change(self, what: str, path: str, body: dict[str, str]) -> None:
        answer = self._check_access(self._ask("POST", path, body=body))
        if answer.status_code == _NOT_FOUND:
            raise NotFound(f"SGLang at {self._url} has no {path}", fix=SETTINGS)
        try:
            response = _Answer.model_validate_json(answer.content)
        except ValidationError:
            message = f"SGLang did not {what}: {answer.status_code} {answer.text[:_MOST_CHARACTERS]}"
            fix = "look at the log of SGLang"
            kind = Unavailable if answer.is_server_error else InvalidInput
            raise kind(message, fix=fix) from None
        if not response.success:
            raise _refusal(what, (response.error_message or "")[:_MOST_CHARACTERS])

    def _check_access(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise InvalidInput(
                f"SGLang at {self._url} wants a key",
                fix="set SGLANG_API_KEY to its --admin-api-key, or to its --api-key",
            )
        return answer

    def _ask(self, method: str, path: str, *, body: dict[str, str] | None = None) -> httpx.Response:
        timeout_s = LOOK_TIMEOUT_S if body is None else LOAD_TIMEOUT_S
        try:
            return self._http.request(method, path, json=body, timeout=timeout_s)
        except httpx.HTTPError as error:
            self.is_lost = True
            raise Unavailable(
                f"SGLang at {self._url} does not answer: {error}", fix="start it, or name another: --url"
            ) from error


def _refusal(what: str, told: str) -> DeltaregError:
    text = f"SGLang did not {what}: {told}"
    for words, error, fix in _ROWS:
        if words.search(told):
            return error(text, fix=fix)
    return InvalidInput(text, fix="look at the log of SGLang")


def token_of_sglang() -> str | None:
    """Return the key that is set for SGLang in the environment."""
    return os.environ.get("SGLANG_API_KEY") or None
