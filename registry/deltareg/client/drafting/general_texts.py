"""General texts that a delta must not forget: those drawn for its base, and their corpus.

An older server has drawn none, and an older release has no corpus. Then there are no such texts,
and a suite does not ask for them.
"""

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files

from deltareg.client.asking.resolving import base_path
from deltareg.client.context import Context
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import DeltaregError
from deltareg.suites.drafting.repeated_rows import without_repeats

_LEAST = 20
_KINDS = ("text", "code", "chat")


def general_texts(context: Context, base: str) -> tuple[Sequence[str], str]:
    """Return general texts for a base, and where they are from.

    Args:
        context: The client's surroundings.
        base: The base's name in the registry; empty if it does not have it.
    """
    own_texts, shipped = list(_fetch_drawn(context, base)) if base else [], list(_read_shipped())
    both = [*own_texts, *shipped]
    texts = [both[at] for at in without_repeats(both)]
    if len(texts) < _LEAST:
        return (), "left out: neither the registry nor this release has general texts for the base"
    description = f"{len(texts)} texts in many languages and in code"
    return texts, f"{description}, those drawn for {base} first" if own_texts else description


def _fetch_drawn(context: Context, base: str) -> Iterator[str]:
    """Yield the texts that were drawn for a base when it was registered."""
    try:
        answer: object = context.api.send("GET", f"{base_path(base)}/probes").json()
    except (DeltaregError, ValueError):  # an older server, or a base that is gone
        return
    document = answer.get("document") if is_object(answer) else None
    try:
        document_fields: object = json.loads(document) if isinstance(document, str) else None
    except ValueError:
        return
    texts = document_fields.get("texts") if is_object(document_fields) else None
    yield from _texts_of(texts)


def _read_shipped() -> Iterator[str]:
    """Yield the texts of the corpus that comes with this release."""
    path = files("deltareg") / "suites" / "general" / "corpus.json"
    if not path.is_file():
        return
    corpus: object = json.loads(path.read_bytes())
    if is_object(corpus):
        for kind in _KINDS:
            yield from _texts_of(corpus.get(kind))


def _texts_of(rows: object) -> Iterator[str]:
    for row in rows if is_list(rows) else []:
        if is_object(row):
            texts = (row.get("text"), row.get("user"), row.get("answer"), row.get("assistant"))
            text = "\n".join(part for part in texts if isinstance(part, str) and part)
            if text:
                yield text
