"""The tags of a repository, by which clients of the hub filter: facts, and what a card claims."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from deltareg.documents.model_card import ModelCard
from deltareg.service.hub.outcomes import HubOutcome

BASE_TAG, BASE_MODEL_TAG = "base:", "base_model:"
_VERSION_TAG, _VERDICT_TAG = "version:", "verdict:"
_REVOKED, _DEPRECATED = "revoked", "deprecated"
_RELATION = re.compile(r"base_model:(?:adapter|finetune|merge|quantized):")


def tags_of(
    *,
    library: str,
    kind: str,
    base: str,
    hub_ids: Iterable[str] = (),
    card: ModelCard | None = None,
    labels: Mapping[str, str] | None = None,
    states: Iterable[str] = (),
) -> list[str]:
    """Return all tags of a version, each once.

    Args:
        library: The library that wrote its files; may be empty.
        kind: Its kind; empty for a base.
        base: The name of its base; empty if the caller may not know it.
        hub_ids: The ids that this base has on the hub.
        card: Its card, if it has one.
        labels: Its labels.
        states: What `state_tags` gave for it.
    """
    facts = [library, kind, f"{BASE_TAG}{base}" if base else "", *(f"{BASE_MODEL_TAG}{each}" for each in hub_ids)]
    texts = [*facts, *states, *(() if card is None else _claims(card)), *_label_tags(labels or {})]
    return list(dict.fromkeys(text for text in texts if text))


def state_tags(number: int, outcome: HubOutcome, *, is_revoked: bool, is_deprecated: bool) -> list[str]:
    """Return the tags of what the registry knows of a version, such as `version:v3` and `verdict:pass`."""
    states = [f"{_VERSION_TAG}v{number}", f"{_VERDICT_TAG}{outcome}"]
    return states + [tag for tag, is_so in ((_REVOKED, is_revoked), (_DEPRECATED, is_deprecated)) if is_so]


def is_state_tag(tag: str) -> bool:
    """Whether a tag may be one of `state_tags`, which are not among search terms."""
    return tag.startswith((_VERSION_TAG, _VERDICT_TAG)) or tag in {_REVOKED, _DEPRECATED}


def plain_tag(tag: str) -> str:
    """Return a tag as it is compared: in lower case, without how a delta comes from its base."""
    return _RELATION.sub(BASE_MODEL_TAG, tag.strip().casefold())


def has_tags(tags: Sequence[str], wanted: Iterable[str]) -> bool:
    """Whether all wanted tags, as `plain_tag` gives them, are among the tags of a repository."""
    plain = {plain_tag(tag) for tag in tags}
    return all(tag in plain for tag in wanted)


def _claims(card: ModelCard) -> Iterator[str]:
    yield from (card.library, card.task, *card.tags, *card.languages)
    if card.license:
        yield f"license:{card.license}"
    yield from (f"dataset:{each}" for each in card.datasets)
    yield from (f"{BASE_MODEL_TAG}{each}" for each in card.base_models)


def _label_tags(labels: Mapping[str, str]) -> Iterator[str]:
    return (f"{key}={value}" if value else key for key, value in labels.items())
