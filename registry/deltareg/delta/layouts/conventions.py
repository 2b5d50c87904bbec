"""What plain weight files mean: W' itself (absolute) or W' - W (additive).

No format records it. Names and metadata are evidence, the user may state it, and if the base's data
is available the size of the values must agree (docs/design.md, Kinds and effects).
"""

from collections.abc import Iterable, Mapping
from typing import Literal, cast

from deltareg.delta.kind import DeltaFiles, Match
from deltareg.errors import Problem, Refused
from deltareg.words import Convention

Told = Convention | Literal[""]
FORMAT = "1"
_METADATA = "convention"
_KIND = "delta_kind"
_FORMAT = "delta_format"
_ADDITIVE_STEMS = ("task_vector", "delta", "diff")
_ADDITIVE_PART = "delta"


def convention(files: DeltaFiles) -> Told:
    """Return the convention by the user, else metadata, else file names; empty if unknown.

    Raises:
        Refused: `convention_needed` when the evidence contradicts itself or the user.
    """
    words = [files.convention, *(h.metadata.get(_METADATA, "") for h in files.headers.values())]
    declared = _reconcile_words(map(_word, words), "metadata and --convention")
    return declared or _reconcile_words(map(_by_name, files.headers), "file names")


def declared_kind(files: DeltaFiles) -> str:
    """Return the kind named in the metadata of our own formats; empty if none is."""
    kinds = {header.metadata.get(_KIND, "") for header in files.headers.values()} - {""}
    return kinds.pop() if len(kinds) == 1 else ""


def match_declared(files: DeltaFiles, kind: str) -> Match | None:
    """Return the match of a kind named in metadata; None if metadata names none or another."""
    declared = declared_kind(files)
    return Match(kind, f'metadata {_KIND} "{declared}"', 3) if declared == kind else None


def own_metadata(kind: str, convention: Convention) -> dict[str, str]:
    """Return the metadata of a file in one of our own formats (docs/format-deltas.md)."""
    return {_KIND: kind, _FORMAT: FORMAT, _METADATA: convention, "format": "pt"}


def check_format(files: DeltaFiles) -> None:
    """Refuse a format of ours that is newer than this program.

    Raises:
        Refused: `bad_config`.
    """
    for path, header in files.headers.items():
        version = header.metadata.get(_FORMAT, FORMAT)
        if version != FORMAT:
            message = f"{path}: {_FORMAT} {version[:40]!r} is not known here, {FORMAT} is"
            raise Refused([Problem("bad_config", message, fix="use a newer deltareg")])


def told_convention(files: DeltaFiles, what: str) -> Convention:
    """Return the convention of a file in one of our own formats, which must state it.

    Args:
        files: The files.
        what: What they hold, for people: `biases`.

    Raises:
        Refused: `convention_needed`, `bad_config`.
    """
    check_format(files)
    declared = convention(files)
    if not declared:
        raise build_convention_refusal(f"neither file names nor metadata say whether {what} are new or added")
    return declared


def build_convention_refusal(why: str) -> Refused:
    """Build the refusal that asks the user to state the convention."""
    return Refused([needed_problem(why)])


def needed_problem(why: str, tensor: str = "") -> Problem:
    """Build the problem that asks the user to state the convention."""
    return Problem(
        "convention_needed",
        why,
        tensor=tensor,
        fix="say --convention absolute (the new values) or --convention additive (new minus old)",
    )


def vocabulary(config: Mapping[str, object]) -> int:
    """Return the vocabulary's size, from the top of a config or its text part; 0 if it has none."""
    for part in (config, config.get("text_config")):
        if isinstance(part, dict):
            size = cast("dict[str, object]", part).get("vocab_size")
            if isinstance(size, int):
                return size
    return 0


def _reconcile_words(words: Iterable[Told], whose: str) -> Told:
    agreed: Told = ""
    for word in words:
        if agreed and word and word != agreed:
            raise build_convention_refusal(f"{whose} say both absolute and additive")
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
