"""The card of a version, with what the registry knows added to what its author wrote.

Nothing that the author wrote is changed: keys in the front matter stay, additions go under
`deltareg:` or were missing, and a section at the end says the same for people. If the folder is
pushed to a hub, `deltareg: {base: NAME}` says which base it is for.
"""

from collections.abc import Iterator
from contextlib import suppress

from deltareg.client.asking.resolving import base_path, resolve, version_path
from deltareg.client.context import Context
from deltareg.documents.model_card import CARD_FILE, read_front, split_card
from deltareg.documents.yaml_document import write_yaml
from deltareg.errors import Forbidden, InvalidInput, NotFound
from deltareg.refs import Ref
from deltareg.wire import BaseInfo, CardInfo, VersionDetail

KEY = "deltareg"
_BEGIN, _END = "<!-- deltareg: begin -->", "<!-- deltareg: end -->"
_WHOLE = {"full", "full_subset", "task_vector", "bitfit", "sparse", "layernorm"}
"""Kinds that change the model's own weights: a hub calls that a fine-tune, all else an adapter."""


def show_card(context: Context, version: VersionDetail, *, text: bool = False) -> CardInfo | None:
    """Return what the card of a version says; None if it has none, or the server reads none."""
    if CARD_FILE not in version.files:
        return None
    path = f"{version_path(Ref.parse(version.ref))}/card"
    with suppress(NotFound):  # of a server of the release before
        return context.api.get(path, CardInfo, text=text)
    return None


def write_card(context: Context, ref: Ref, *, bare: str) -> str:
    """Return the card of a version with its base, kind, verdict and lineage.

    Raises:
        InvalidInput: The front matter cannot be read, and would be lost by writing it back.
    """
    version = resolve(context, ref, bare=bare)
    card = show_card(context, version, text=True)
    return card_text(version, "" if card is None else card.text, _base(context, version), server=context.config.server)


def card_text(version: VersionDetail, text: str, base: BaseInfo | None, *, server: str) -> str:
    """Return a card with the registry's facts added.

    Args:
        version: The version.
        text: The card as its author wrote it; empty if there is none.
        base: The base; None if the caller may not read it.
        server: The registry's address.

    Raises:
        InvalidInput: The front matter cannot be read.
    """
    front, body = split_card(text)
    try:
        fields = read_front(front)
    except InvalidInput as error:
        raise InvalidInput(
            f"the {CARD_FILE} of {version.ref} cannot be written back: {error.message}",
            fix="fix its front matter, and push the folder again",
        ) from error
    fields = {**fields, **{k: v for k, v in _missing(version, base).items() if k not in fields}}
    own = fields.get(KEY)
    fields[KEY] = {**(own if isinstance(own, dict) else {}), **_list_facts(version, base, server)}
    body = without_sections(body).strip("\n") or f"# {version.namespace}/{version.name}"
    return f"---\n{write_yaml(fields)}---\n\n{body}\n\n{_section(version, base)}\n"


def without_sections(body: str) -> str:
    """Return the text of a card without the sections that were added to it before."""
    parts: list[str] = []
    while True:
        before, begin, rest = body.partition(_BEGIN)
        _, end, after = rest.partition(_END)
        if not begin or not end:
            return "".join([*parts, body])
        parts += [before.rstrip("\n"), "\n"]
        body = after.lstrip("\n")


def _missing(version: VersionDetail, base: BaseInfo | None) -> dict[str, object]:
    """Return the fields that hubs expect of a card and the author left out, as far as known."""
    fields: dict[str, object] = {}
    if base is not None and base.hub_ids:
        fields["base_model"] = base.hub_ids[0].partition("@")[0]
        relation = "merge" if len(version.parents) > 1 else "adapter"
        fields["base_model_relation"] = "finetune" if version.kind in _WHOLE else relation
    library = version.source.partition(" ")[0]
    return fields | ({"library_name": library} if library else {})


def _list_facts(version: VersionDetail, base: BaseInfo | None, server: str) -> dict[str, object]:
    name = {} if base is None else {"base": base.name}
    if base is not None and version.base_claim:
        name["trained_on"] = base.name  # so that a push of the written folder insists as this one did
    facts = {
        "ref": version.ref,
        "digest": version.digest,
        "registry": server,
        **name,
        "base_root": version.base.root,
        "base_identity": version.base.identity,
        "kind": version.kind,
        "variant": version.variant,
        "verdict": version.verdict or "none",
        "parents": list(version.parents),
        "pushed_at": version.created_at,
    }
    return {key: value for key, value in facts.items() if value}


def _section(version: VersionDetail, base: BaseInfo | None) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in _facts(version, base))
    return f"{_BEGIN}\n## In the registry\n\n| | |\n|---|---|\n{rows}\n{_END}"


def _facts(version: VersionDetail, base: BaseInfo | None) -> Iterator[tuple[str, str]]:
    variant = f" ({version.variant})" if version.variant not in {"", version.kind} else ""
    yield "version", f"`{version.ref}`, `{version.digest}`"
    yield "kind", f"{version.kind}{variant}"
    base_text = "" if base is None else f"`{base.name}`, "
    yield "base", f"{base_text}`{version.base.identity or version.base.root}`"
    if version.base_claim:
        yield "its files say", version.base_claim
    if len(version.stack) > 1:
        yield "stands on", " \u2190 ".join(f"`{name}`" for name in version.stack)
    if version.parents:
        yield "made from", ", ".join(f"`{parent}`" for parent in version.parents)
    yield "verdict", version.verdict or "none"
    if version.revocation is not None:
        yield "revoked", f"by {version.revocation.actor} at {version.revocation.at}"
    yield "pushed", f"{version.created_at} by {version.created_by}"


def _base(context: Context, version: VersionDetail) -> BaseInfo | None:
    """Return the base of a version; None if the caller may not read its name."""
    with suppress(NotFound, Forbidden, InvalidInput):
        return context.api.get(base_path(version.base.name), BaseInfo)
    return None
