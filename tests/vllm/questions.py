"""What vLLM is asked to find out how it refuses, and its answers as far as they do not vary.

`recorded.json` has what a real one answered; `python -m tests.vllm.record` writes it anew.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

RECORDED = Path(__file__).with_name("recorded.json")
MAX_RANK = 8
_PATHS = re.compile(r"<path>|(?:/[\w.@-]+)+")
_SETS = re.compile(r"\{('[^{}]*')\}")


@dataclass(frozen=True)
class Told:
    """An answer: of an error its kind and message, else what it says."""

    status: int
    kind: str
    text: str


def ask_all(url: str, adapters: Mapping[str, Path], base_name: str) -> dict[str, Told]:
    """Ask every question; adapters are by name, `one` and `two` among them."""
    with httpx.Client(base_url=url, timeout=120, verify=False) as http:  # loopback
        return dict(_ask(http, adapters, base_name))


def _ask(http: httpx.Client, adapters: Mapping[str, Path], base_name: str) -> Iterator[tuple[str, Told]]:
    def load(name: object, path: object, **more: object) -> Told:
        body = {"lora_name": name, "lora_path": path} | more
        given = {key: value for key, value in body.items() if value is not None}
        return _told(http.post("/v1/load_lora_adapter", json=given))

    def unload(name: str) -> Told:
        return _told(http.post("/v1/unload_lora_adapter", json={"lora_name": name}))

    yield "health", _told(http.get("/health"))
    yield "load", load("one", str(adapters["one"]))
    yield "load a second", load("two", str(adapters["two"]))
    yield "load a known name", load("one", str(adapters["one"]))
    yield "load a known name, other path", load("one", str(adapters["two"]))
    for name, path in adapters.items():
        if name not in {"one", "two"}:
            yield f"load {name}", load("refused", str(path))
    yield "load under the base's name", load(base_name, str(adapters["one"]))
    yield "load without a name", load(None, str(adapters["one"]))
    yield "load with an empty name", load("", str(adapters["one"]))
    yield "load with a name of / : @", load("team/chat:v3@x", str(adapters["one"]))
    yield "unload a name of / : @", unload("team/chat:v3@x")
    yield "unload", unload("two")
    yield "unload an unknown name", unload("two")
    yield (
        "complete with an unknown name",
        _told(http.post("/v1/completions", json={"model": "two", "prompt": "a", "max_tokens": 1})),
    )
    yield (
        "load what is no JSON",
        _told(http.post("/v1/load_lora_adapter", content="{", headers={"Content-Type": "application/json"})),
    )
    yield (
        "load as text",
        _told(http.post("/v1/load_lora_adapter", content="{}", headers={"Content-Type": "text/plain"})),
    )
    yield "unload the other", unload("one")


def _told(answer: httpx.Response) -> Told:
    try:
        body = answer.json()
    except ValueError:
        return Told(answer.status_code, "", _plain(answer.text))
    error = body.get("error", body) if isinstance(body, dict) else {}
    return Told(answer.status_code, str(error.get("type", "")), _plain(error.get("message", "")))


def _plain(text: str) -> str:
    """Take out what varies: where things lie, the order of sets, the words of what reads JSON."""
    plain = _PATHS.sub("<path>", text)
    plain = _SETS.sub(lambda found: f"{{{', '.join(sorted(found[1].split(', ')))}}}", plain)
    return re.sub(r"(validation errors?:).*", r"\1", plain, flags=re.DOTALL)


def read_recorded() -> dict[str, Told]:
    """Give what a real vLLM answered."""
    found = json.loads(RECORDED.read_text())
    return {name: Told(**told) for name, told in found["answers"].items()}


def write_recorded(version: str, answers: Mapping[str, Told]) -> None:
    """Keep what a real vLLM answered."""
    document = {"vllm": version, "answers": {name: asdict(told) for name, told in answers.items()}}
    RECORDED.write_text(json.dumps(document, indent=2) + "\n")
