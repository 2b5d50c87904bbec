"""What plain weight files mean: W' itself (absolute) or W' - W (additive).

No format says it, so names and metadata are evidence, the user may state it, and where the base's
data is at hand the size of the numbers must agree (docs/design.md, Kinds and effects).
"""

from collections.abc import Iterable, Mapping
from typing import Literal, cast

from deltareg.errors import Problem, Refused
from deltareg.kind import DeltaFiles

Convention = Literal["absolute", "additive"]
Told = Literal["absolute", "additive", ""]
_METADATA = "convention"
_ADDITIVE_STEMS = ("task_vector", "delta", "diff")
_ADDITIVE_PART = "delta"


def convention(files: DeltaFiles) -> Told:
    """Give the convention: what the user says, else metadata, else file names; empty if unknown.

    Raises:
        Refused: `convention_needed` when the evidence contradicts itself or the user.
    """
    words = [files.convention, *(h.metadata.get(_METADATA, "") for h in files.headers.values())]
    told = _agreed(map(_word, words), "metadata and --convention")
    return told or _agreed(map(_by_name, files.headers), "file names")


def needed(why: str) -> Refused:
    """Give the refusal that asks the user to state the convention."""
    return Refused([needed_problem(why)])


def needed_problem(why: str, tensor: str = "") -> Problem:
    """Give the problem that asks the user to state the convention."""
    return Problem(
        "convention_needed",
        why,
        tensor=tensor,
        fix="say --convention absolute (the new values) or --convention additive (new minus old)",
    )


def vocabulary(config: Mapping[str, object]) -> int:
    """Give the vocabulary's size, from the top of a config or its text part; 0 if it has none."""
    for part in (config, config.get("text_config")):
        if isinstance(part, dict):
            size = cast("dict[str, object]", part).get("vocab_size")
            if isinstance(size, int):
                return size
    return 0


def _agreed(words: Iterable[Told], whose: str) -> Told:
    agreed: Told = ""
    for word in words:
        if agreed and word and word != agreed:
            raise needed(f"{whose} say both absolute and additive")
        agreed = agreed or word
    return agreed


def _word(text: str) -> Told:
    if text in {"absolute", "additive"}:
        return cast("Convention", text)
    return ""


def _by_name(path: str) -> Told:
    stem = path.rpartition("/")[2].removesuffix(".safetensors").lower()
    if stem.startswith(_ADDITIVE_STEMS) or _ADDITIVE_PART in stem:
        return "additive"
    return "absolute" if stem.startswith(("model", "pytorch_model")) else ""
