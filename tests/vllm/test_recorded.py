"""The stub of vLLM says what a real one said, and we read each of its refusals for what it is."""

import httpx
import pytest

from deltareg.client.follow.vllm_refusals import refusal
from deltareg.errors import Conflict, IntegrityFailure, InvalidInput, Unavailable
from tests.fixtures.vllm_stub import BASE_MODEL
from tests.vllm.models import make_base, make_lora, make_refused
from tests.vllm.questions import MAX_RANK, ask_all, read_recorded

FATAL = {
    "rank": (InvalidInput, "--max-lora-rank 16"),
    "dora": (InvalidInput, "deltareg materialize"),
    "modules_to_save": (InvalidInput, "deltareg materialize"),
    "bias": (InvalidInput, "deltareg materialize"),
    "ia3": (InvalidInput, "deltareg materialize"),
    "loha": (InvalidInput, "deltareg materialize"),
    "adalora": (InvalidInput, "deltareg materialize"),
    "cut": (IntegrityFailure, "folder whole"),
    "no_weights": (IntegrityFailure, "folder whole"),
    "no_config": (InvalidInput, "same path"),
    "absent": (InvalidInput, "same path"),
    "unknown_modules": (InvalidInput, "the base that the version is for"),
    "under the base's name": (Conflict, "another name"),
    "a known name": (Conflict, "unload it there"),
}


def answered(status, text):
    return httpx.Response(status, json={"error": {"message": text}}, request=httpx.Request("POST", "http://vllm/v1/x"))


def test_the_stub_answers_as_a_real_one_did(vllm, tmp_path):
    base = make_base(tmp_path / "base", seed=1, hidden=128)
    adapters = {"one": make_lora(base, tmp_path / "one", seed=2), "two": make_lora(base, tmp_path / "two", seed=3)}
    adapters |= make_refused(base, tmp_path / "refused")
    vllm.max_lora_rank = MAX_RANK

    found = ask_all(vllm.url, adapters, BASE_MODEL)

    recorded = read_recorded()
    assert {name: (told.status, told.kind) for name, told in found.items()} == {
        name: (told.status, told.kind) for name, told in recorded.items()
    }
    own = {name: told.text.replace(BASE_MODEL, "tiny") for name, told in found.items()}
    assert own == {name: told.text for name, told in recorded.items()}


@pytest.mark.parametrize("name", FATAL)
def test_what_cannot_work_is_not_worth_a_retry(name):
    kind, fix = FATAL[name]
    told = read_recorded()[f"load {name}"]

    error = refusal("load x", "http://vllm", answered(told.status, told.text))

    assert (type(error), error.retryable) == (kind, False)
    assert fix in error.fix
    assert told.text[:40] in error.message


@pytest.mark.parametrize(
    "text",
    [
        "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        "Call to add_lora method failed: Worker failed with error 'CUDA out of memory. Tried to'",
        "",
    ],
)
def test_what_the_engine_is_at_fault_for_is_worth_a_retry(text):
    error = refusal("load x", "http://vllm", answered(500, text))

    assert isinstance(error, Unavailable)


def test_a_failure_of_the_worker_that_nobody_knows_is_no_reason_to_try_for_ever():
    text = "Call to add_lora method failed: Worker failed with error 'list index out of range'"

    error = refusal("load x", "http://vllm", answered(500, text))

    assert type(error) is InvalidInput
    assert "log of vLLM" in error.fix
