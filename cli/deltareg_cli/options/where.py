"""`--on`: where a verification runs, as the labels that its worker must offer."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from deltareg.errors import InvalidInput

_DEVICES = {"cpu", "cuda"}
_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,59}")


@dataclass(frozen=True, slots=True)
class WorkerChoice:
    """Where a verification runs.

    Attributes:
        labels: What its worker must offer; empty where any worker will do.
        is_here: Whether this command starts a worker of its own.
    """

    labels: dict[str, str] = field(default_factory=dict)
    is_here: bool = False


def parse_where(words: Sequence[str]) -> WorkerChoice:
    """Parse the words of `--on`: any, local, cpu, cuda, a class of GPU, or LABEL=VALUE.

    Raises:
        InvalidInput: A word is none of these, or two of them exclude each other.
    """
    if "local" in words or "any" in words:
        if len(set(words)) > 1:
            raise InvalidInput(f"--on {words[0]} and --on {words[1]} exclude each other", fix="keep one of them")
        return WorkerChoice(is_here="local" in words)
    labels: dict[str, str] = {}
    for word in words:
        name, value = _label(word)
        if labels.get(name, value) != value:
            raise InvalidInput(f"no worker has {name}={labels[name]} and {name}={value}", fix="keep one of them")
        labels[name] = value
    return WorkerChoice(labels)


def _label(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if equals and name and value:
        return name, value
    if word.lower() in _DEVICES:
        return "device", word.lower()
    if not equals and _GPU.fullmatch(word):
        return "gpu", word.lower()
    raise InvalidInput(
        f"not a place to verify: {word[:60]!r}", fix="--on any, local, cpu, cuda, a GPU such as h100, or LABEL=VALUE"
    )
