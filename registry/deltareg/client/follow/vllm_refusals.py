"""What vLLM's refusals mean: it mostly answers 500, and only the message gives the reason.

A refusal that would repeat becomes an error that says what helps instead. An answer that is in no
row is worth another try only if vLLM's engine may be at fault.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from deltareg.errors import Conflict, DeltaregError, IntegrityFailure, InvalidInput, NotFound, Unavailable
from deltareg.host.lean_httpx import httpx

SETTINGS = "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
_LOG = "look at the log of vLLM"
_MOST_CHARACTERS = 500
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class _Row:
    """A refusal that is recognised by its words.

    Attributes:
        words: A pattern in its message; its groups go into the fix.
        error: The class of the error.
        fix: What to do, with `{0}` for the first group.
    """

    words: re.Pattern[str]
    error: Callable[..., DeltaregError]
    fix: str


def _row(words: str, error: Callable[..., DeltaregError], fix: str) -> _Row:
    return _Row(re.compile(words, re.IGNORECASE | re.DOTALL), error, fix)


_ROWS: Sequence[_Row] = (
    _row(
        r"LoRA rank (\d+) is greater than max_lora_rank (\d+)",
        InvalidInput,
        "start vLLM with --max-lora-rank {0} or more, or train with a rank of {1} at most",
    ),
    _row(r"LoRA is not enabled", InvalidInput, SETTINGS),
    _row(
        r"does not yet support DoRA",
        InvalidInput,
        "vLLM serves no DoRA: train without it, or serve the merged model: deltareg materialize",
    ),
    _row(
        r"only supports modules_to_save being",
        InvalidInput,
        "vLLM takes no modules_to_save: train without, or serve the merged model: deltareg materialize",
    ),
    _row(
        r"support LoRA bias|Adapter bias|lora_bias",
        InvalidInput,
        "vLLM takes no trained biases: train with bias none, or serve the merged model: deltareg materialize",
    ),
    _row(
        r"Missing required configuration fields|is unsupported LoRA weight|unsupported peft",
        InvalidInput,
        "vLLM serves plain LoRA alone: serve the merged model: deltareg materialize",
    ),
    _row(
        r"expected target modules in (.{0,200}?) but received",
        InvalidInput,
        "what vLLM serves has no such modules: is it the base that the version is for?",
    ),
    _row(
        r"out of memory|not enough memory|No free lora slots",
        Unavailable,
        "give vLLM room: a smaller --max-loras, --max-cpu-loras or --gpu-memory-utilization",
    ),
    _row(
        r"deserializing header|safetensors_rust|incomplete metadata|doesn't contain tensors",
        IntegrityFailure,
        "vLLM cannot read the files: does it see the folder whole, under the same path?",
    ),
    _row(
        r"No adapter found|does not contain a? ?valid adapter",
        InvalidInput,
        "vLLM does not see the folder: give it the same path, and a user who may read it",
    ),
    _row(
        r"conflicts with a served base model|has already been loaded",
        Conflict,
        "unload it there, or serve the base under another name",
    ),
    _row(r"Failed to remove lora adapter", Conflict, "vLLM lets go of it once it was used again, or at its next start"),
    _row(
        r"EngineDead|EngineCore encountered|engine is dead", Unavailable, "start vLLM again; its log says why it ended"
    ),
    _row(
        r"size mismatch|shape mismatch|must match the (existing )?size",
        InvalidInput,
        "the version does not fit what vLLM serves: is it the base that the version is for?",
    ),
    _row(r"Call to add_lora method failed|Loading lora .{0,200} failed", InvalidInput, _LOG),
)


def refusal(what: str, url: str, answer: httpx.Response) -> DeltaregError:
    """Turn an error answer of vLLM into an exception of ours.

    Args:
        what: What it was asked, as in "vLLM did not WHAT".
        url: The server's address.
        answer: Its answer.
    """
    message = message_of(answer)
    text = f"vLLM did not {what}: {answer.status_code} {message}".rstrip()
    if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return InvalidInput(text, fix="set VLLM_API_KEY to the key that vLLM was started with")
    for row in _ROWS:
        match = row.words.search(message)
        if match is not None:
            return row.error(text, fix=row.fix.format(*match.groups()))
    if answer.status_code == _NOT_FOUND and not message:
        return NotFound(f"vLLM at {url} has no {answer.request.url.path}", fix=SETTINGS)
    if answer.is_server_error:
        return Unavailable(text, fix=_LOG)
    return InvalidInput(text, fix=_LOG)


class _Told(BaseModel):
    message: str = ""
    error: "_Told | None" = None


def message_of(answer: httpx.Response) -> str:
    """Read vLLM's message, which newer releases nest one level deeper; empty for other programs."""
    try:
        document = _Told.model_validate_json(answer.content)
    except ValidationError:
        return ""
    return (document.error or document).message[:_MOST_CHARACTERS]
