"""The base that an adapter's own config names, where `--base` is left out.

What the config says is where to look: a registered base of that name, of that id on the hub, or
registered from that place; else a folder on this machine, whose fingerprint says which base it is.
Exactly one base has to match: nothing here chooses among several.
"""

from deltareg.client.asking.resolving import base_path
from deltareg.client.bases.hub import NamedBase, named_place
from deltareg.client.context import Context
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import parse_base
from deltareg.wire import BaseInfo, Page

_MOST = 50


def find_named_base(context: Context, named: NamedBase) -> str:
    """Return what `--base` would have to be: a base's name, or a folder.

    Raises:
        InvalidInput: The config names no base, none that is registered or here, or more than one.
    """
    registered = _find_registered(context, named) if named.name else {}
    if len(registered) > 1:
        both = " and ".join(sorted(registered))
        raise InvalidInput(f"the config's {_describe(named)} is {both}", fix=f"choose: --base {min(registered)}")
    if registered:
        return next(iter(registered))
    place = named_place(named.name)
    if place is not None:
        return str(place)
    raise _refuse_unknown(context, named)


def _find_registered(context: Context, named: NamedBase) -> dict[str, BaseInfo]:
    """Return the registered bases that a name may mean, by their own names."""
    bases = {info.name: info for info in _list_by_hub_id(context, named)}
    api = context.api
    here = api.get("/bases", Page[BaseInfo], location=named.name, limit=_MOST).items
    bases |= {info.name: info for info in here}
    try:
        parse_base(named.name)
        own = api.get(base_path(named.name), BaseInfo)
    except (InvalidInput, NotFound):
        return bases
    return bases | {own.name: own}


def _list_by_hub_id(context: Context, named: NamedBase) -> list[BaseInfo]:
    """List bases by an id of the hub; a revision in the config must be the one recorded, if any."""
    bases = context.api.get("/bases", Page[BaseInfo], hub_id=named.name, limit=_MOST).items
    if not named.revision:
        return bases
    accepted = {named.name, f"{named.name}@{named.revision}"}
    return [info for info in bases if accepted & set(info.hub_ids)]


def _refuse_unknown(context: Context, named: NamedBase) -> InvalidInput:
    names = ", ".join(i.name for i in context.api.get("/bases", Page[BaseInfo], limit=20).items)
    choose = f"--base with one of: {names}; or " if names else ""
    if not named.name:
        store = "store it: deltareg base push PATH NAME"
        return InvalidInput("no base is named", fix=f"{choose}{store}")
    hub_id = f" --hub-id {named.name}" if named.is_hub_id else ""
    return InvalidInput(
        f"no base is named; the config's {_describe(named)} is no registered base, and not on this machine",
        fix=f"{choose}register it: deltareg base register PATH NAME{hub_id}",
    )


def _describe(named: NamedBase) -> str:
    revision = f" at {named.revision[:40]!r}" if named.revision else ""
    return f"base_model_name_or_path {named.name[:120]!r}{revision}"
