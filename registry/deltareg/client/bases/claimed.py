"""Which base the files of a delta mean: asked of the registry, and of the folders on this machine.

A name may be a registered base's, an id of the hub with or without a revision, or a place. What lies at a
place on this machine is known by its fingerprint, which tells more than any name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from deltareg.client.asking.resolving import base_path
from deltareg.client.bases.bases import KnownBase
from deltareg.client.bases.hub import hub_folder
from deltareg.client.context import Context
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import Folder
from deltareg.delta.quantised.fit import packed_problems
from deltareg.documents.model_card import CARD_FILE
from deltareg.errors import DeltaregError, InvalidInput, NotFound, Problem, Refused
from deltareg.identity.base_claims import (
    ADAPTER_CONFIG,
    MODEL_CONFIG,
    BaseClaim,
    BaseClaims,
    ClaimedBases,
    Contradiction,
    find_contradiction,
    read_claims,
    split_revisions,
)
from deltareg.wire import BaseInfo, Page

_MOST = 50
_OF_MODELS = (MODEL_CONFIG, "model_index.json")


@dataclass(frozen=True, slots=True)
class MeantBase:
    """A base that a claim leads to: a registered one, or a folder that holds none of these.

    Attributes:
        name: What `--base` would have to be: its name, or the folder.
        full: The name of the base in full precision, where it is a variant; else its own.
        root: The digest over its tensors.
        identity: The digest over all of it; empty where it is not known.
        is_registered: Whether the registry knows it.
    """

    name: str
    full: str
    root: str
    identity: str
    is_registered: bool = True

    def is_base(self, base: KnownBase) -> bool:
        """Whether a delta that was trained on it may be pushed onto a base."""
        if not self.is_registered:
            return self.root == str(base.view.root)
        return base.name in {self.name, self.full} or bool(base.identity and self.identity == base.identity)


def claims_in(folder: Folder) -> BaseClaims:
    """Return what an opened folder says about its base."""
    card = folder.contents.get(CARD_FILE)
    headers = (file.header.metadata for file in folder.contents.values() if file.header is not None)
    return read_claims(folder.documents, b"" if card is None else bytes(card.data), headers)


def find_claimed(context: Context, claim: BaseClaim, *, likely: BaseInfo | None = None) -> ClaimedBases[MeantBase]:
    """Find the bases that a claim leads to, here and at the registry.

    Args:
        context: The client's surroundings.
        claim: What a file says.
        likely: A base that may well be meant: where it is, no others are asked for.
    """
    here = None if context.config.is_for_others else _model_at(claim.name)
    if here is not None and (bases := _of_folder(context, claim, here)):
        return ClaimedBases(bases)
    if likely is not None and _is_called(likely, claim):
        return ClaimedBases([_as_meant(likely)])
    named = _of_names(context, claim)
    if named.bases or context.config.is_for_others or not claim.hub_id:
        return named
    cached = hub_folder(claim.hub_id, claim.hub_revision)
    found = () if cached is None else _of_folder(context, claim, cached)
    return ClaimedBases(found) if found else named


def check_claims(
    context: Context,
    claims: BaseClaims,
    base: KnownBase,
    *,
    is_insisted: bool,
    command: str,
    known: dict[BaseClaim, ClaimedBases[MeantBase]] | None = None,
) -> tuple[str, str]:
    """Refuse a base that the delta's files contradict, unless somebody insists.

    Args:
        context: The client's surroundings.
        claims: What the files say.
        base: The base that is pushed onto.
        is_insisted: Whether the publisher says that it was trained on that base, whatever the files say.
        command: The push without its base, for advice.
        known: What claims lead to, as far as it was asked; what is asked now is added.

    Returns:
        What is insisted against, as the registry records it, and a remark for people; mostly both are empty.

    Raises:
        Refused: `base_mismatch`: the files lead to another base.
    """
    found: dict[BaseClaim, ClaimedBases[MeantBase]] = {} if known is None else known

    def find(claim: BaseClaim) -> ClaimedBases[MeantBase]:
        if claim not in found:
            found[claim] = find_claimed(context, claim, likely=base.info)
        return found[claim]

    conflict = find_contradiction(claims.claims, find, is_same=lambda one: one.is_base(base))
    if conflict is None:
        return "", _remark(claims, found, base)
    if not is_insisted:
        raise refuse(conflict, base, command)
    return conflict.in_short, ""


def refuse(conflict: Contradiction[MeantBase], base: KnownBase, command: str) -> Refused:
    """Return the refusal of a base that the delta's files contradict."""
    claim, bases = conflict.claim, conflict.found.bases
    insist = f"(if {claim.where} is wrong: --trained-on {base.name})"
    message = conflict.describe(base.name)
    if not bases:
        fix = f"register that one: {conflict.registering} {insist}"
    elif bases[0].is_registered:
        fix = f"{command} --base {bases[0].name} {insist}"
    else:
        message = f"{claim.where} names {claim}, which holds another model than {base.name}, and no registered one"
        fix = f"register it: deltareg base push {bases[0].name} NAME; then push with --base NAME {insist}"
    return Refused([Problem("base_mismatch", message, fix=fix)])


def _remark(claims: BaseClaims, found: dict[BaseClaim, ClaimedBases[MeantBase]], base: KnownBase) -> str:
    """Say that nobody knows the name in the files, so that nothing of theirs confirms the base."""
    first = claims.first
    if not first.name or any(one.bases for one in found.values()) or first.name == base.name or _ends(base, first):
        return ""
    return f"{first.where} names {first}, and no base here is known by that; {base.name} is what you said"


def _ends(base: KnownBase, claim: BaseClaim) -> bool:
    """Whether the folder of a base ends as a relative path does: that confirms, and denies nothing."""
    if base.folder is None:
        return False
    here, named = base.folder.path.absolute().parts, PurePath(claim.name.removeprefix("~/")).parts
    return bool(named) and here[-len(named) :] == named


def _model_at(name: str) -> Path | None:
    """Return the folder of a model that a name leads to on this machine."""
    try:
        place = Path(name).expanduser()
        is_model = any((place / name).is_file() for name in _OF_MODELS)
        return place if is_model and not (place / ADAPTER_CONFIG).exists() else None
    except (OSError, RuntimeError, ValueError):  # longer than any name, no such home, or with a NUL in it
        return None


def _of_folder(context: Context, claim: BaseClaim, place: Path) -> Sequence[MeantBase]:
    """Return the base that a folder holds, by its fingerprint; nothing where it holds none that would tell."""
    try:
        folder = open_base(place, context.cache, progress=context.progress)
    except DeltaregError:  # not a base at all
        return ()
    with folder:
        root, identity = str(folder.identity.root), str(folder.identity.whole.identity)
        is_packed = bool(packed_problems(folder.view, place.name))
    infos = context.api.get("/bases", Page[BaseInfo], root=root, limit=_MOST).items
    registered = [_as_meant(info) for info in infos]
    same = [one for one in registered if one.identity == identity] or registered
    if same or is_packed or claim.where != ADAPTER_CONFIG:
        return same
    return [MeantBase(str(place), str(place), root, identity, is_registered=False)]


def _is_called(info: BaseInfo, claim: BaseClaim) -> bool:
    """Whether what is known of a base says that a claim leads to it, among others perhaps."""
    wanted = claim.hub_revision
    revisions = {revision for _, revision in _revisions([info], claim.hub_id)} if claim.hub_id else set[str]()
    is_of_hub = wanted in revisions if wanted else bool(revisions)
    return is_of_hub or claim.name.lower() == info.name or claim.location == info.location


def _of_names(context: Context, claim: BaseClaim) -> ClaimedBases[MeantBase]:
    api, bases = context.api, dict[str, BaseInfo]()
    of_hub: ClaimedBases[BaseInfo] = ClaimedBases()
    if claim.hub_id:
        listed = api.get("/bases", Page[BaseInfo], hub_id=claim.hub_id, limit=_MOST).items
        of_hub = split_revisions(claim, _revisions(listed, claim.hub_id))
        bases |= {info.name: info for info in of_hub.bases}
    here = api.get("/bases", Page[BaseInfo], location=claim.location, limit=_MOST).items
    bases |= {info.name: info for info in here}
    try:
        own = api.get(base_path(claim.name.lower()), BaseInfo)
        bases[own.name] = own
    except (InvalidInput, NotFound):
        pass
    others = {info.name: _as_meant(info) for info in of_hub.of_other_revisions if not bases}
    return ClaimedBases([_as_meant(info) for info in bases.values()], list(others.values()))


def _revisions(infos: Sequence[BaseInfo], hub_id: str) -> list[tuple[BaseInfo, str]]:
    parted = [(info, *one.partition("@")[::2]) for info in infos for one in info.hub_ids]
    return [(info, revision) for info, name, revision in parted if name.lower() == hub_id.lower()]


def _as_meant(info: BaseInfo) -> MeantBase:
    if info.variant_of is None:
        return MeantBase(info.name, info.name, info.root, info.identity)
    return MeantBase(info.name, info.variant_of.name, info.variant_of.root, info.variant_of.identity)
