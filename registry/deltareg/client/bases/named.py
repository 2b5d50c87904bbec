"""The base that a delta's own files name, where `--base` is left out.

What they say is where to look: a registered base of that name, of that id on the hub, or registered from
that place; or a folder on this machine, whose fingerprint says which base it is. Exactly one base has to
match: nothing here chooses among several.
"""

from collections.abc import Iterator
from pathlib import Path

from deltareg.client.asking.resolving import base_path
from deltareg.client.bases.claimed import claims_in, find_claimed
from deltareg.client.bases.which import base_manifest
from deltareg.client.context import Context
from deltareg.client.folders.folder import Folder, open_delta
from deltareg.delta.base_manifest import base_view
from deltareg.delta.delta_manifest import assess
from deltareg.errors import InvalidInput, NotFound, Refused
from deltareg.identity.base_claims import ADAPTER_CONFIG, BaseClaim, BaseClaims
from deltareg.wire import BaseInfo, Page

_TRIED = 20


def named_in(context: Context, delta: Path) -> tuple[str, str]:
    """Return what `--base` would have to be for a delta's folder, and the file that says so.

    Raises:
        InvalidInput: Its files name no base, none that is registered or here, or more than one.
        NotFound: There is no such delta.
        Refused: It is part of a delta, or a folder around one.
    """
    with open_delta(delta) as folder:
        return find_named_base(context, claims_in(folder), folder)


def find_named_base(context: Context, claims: BaseClaims, folder: Folder) -> tuple[str, str]:
    """Return what `--base` would have to be, a base's name or a folder, and the file that says so.

    Args:
        context: The client's surroundings.
        claims: What the folder's files say.
        folder: The opened folder.

    Raises:
        InvalidInput: They name no base, none that is registered or here, or more than one.
    """
    if claims.base:  # written for this registry
        return _find_registered(context, claims.base), "README.md"
    found = {claim: find_claimed(context, claim).bases for claim in claims.claims}
    leading = {claim: {one.name: one for one in bases} for claim, bases in found.items() if bases}
    if not leading:
        raise _refuse_unknown(context, claims, folder)
    first, names = next(iter(leading.items()))
    common = {name: one for name, one in names.items() if all(name in others for others in leading.values())}
    if len(common) == 1:
        return next(iter(common)), first.where
    choices = {name: one for others in leading.values() for name, one in others.items()}
    both = " and ".join(sorted(common or choices))
    raise InvalidInput(f"{_quote(first)} is {both}", fix=f"choose: --base {min(common or choices)}")


def _find_registered(context: Context, name: str) -> str:
    try:
        return context.api.get(base_path(name.lower()), BaseInfo).name
    except NotFound as error:
        raise InvalidInput(
            f"README.md names the base {name[:120]!r}, which is not registered", fix="deltareg base ls"
        ) from error


def _refuse_unknown(context: Context, claims: BaseClaims, folder: Folder) -> InvalidInput:
    infos = context.api.get("/bases", Page[BaseInfo], limit=_TRIED).items
    fitting = list(_fitting(context, folder, infos))
    names = ", ".join(info.name for info in infos)
    choose = f"its shapes fit: {', '.join(fitting)}; choose: --base {fitting[0]}; or " if fitting else ""
    choose = choose or (f"--base with one of: {names}; or " if names else "")
    first = claims.first
    if not first.name:
        return InvalidInput("no base is named", fix=f"{choose}store it: deltareg base push PATH NAME")
    hub_id = f" --hub-id {first.hub_id}" if "/" in first.hub_id else ""
    return InvalidInput(
        f"no base is named; {_quote(first)} is no registered base, and not on this machine",
        fix=f"{choose}register it: deltareg base register PATH NAME{hub_id}",
    )


def _fitting(context: Context, folder: Folder, infos: list[BaseInfo]) -> Iterator[str]:
    """Give the names of the bases that every tensor of a folder has a place in."""
    for info in infos:
        if info.variant_of is not None:
            continue
        try:
            view = base_view(base_manifest(context.api, context.cache, info))
            if not assess(folder.files, folder.tensors, view).errors:
                yield info.name
        except (NotFound, Refused):  # deleted meanwhile, or no delta by any base
            continue


def _quote(claim: BaseClaim) -> str:
    words = "the config's base_model_name_or_path" if claim.where == ADAPTER_CONFIG else f"the base in {claim.where}"
    revision = f" at {claim.revision[:40]!r}" if claim.revision else ""
    return f"{words} {claim.name[:120]!r}{revision}"
