"""The base that an adapter's own config names, where `--base` is left out.

What the config says is where to look: a registered base of that name, of that id on the hub, or
registered from that place; else a folder on this machine, whose fingerprint says which base it is.
One base has to come of it; nobody chooses among several.
"""

from pathlib import Path

from deltareg.client.asking.resolving import base_path
from deltareg.client.bases.hub import NamedBase, base_in_config, named_place
from deltareg.client.context import Context
from deltareg.client.folders.near_misses import check_is_whole
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import parse_base
from deltareg.wire import BaseInfo, Page

_MOST = 50


def named_base(context: Context, adapter: Path) -> str:
    """Give what `--base` would have to be: a base's name, or a folder.

    Raises:
        InvalidInput: The config names no base, none that is known, or more than one.
        NotFound: There is no such adapter.
        Refused: What is there is around an adapter, or one file of it.
    """
    check_is_whole(adapter)
    told = base_in_config(adapter)
    found = _find_registered(context, told) if told.name else {}
    if len(found) > 1:
        both = " and ".join(sorted(found))
        raise InvalidInput(f"the config's {_describe_named(told)} is {both}", fix=f"choose: --base {min(found)}")
    if found:
        return next(iter(found))
    place = named_place(told.name)
    if place is not None:
        return str(place)
    raise _nothing(context, told)


def _find_registered(context: Context, told: NamedBase) -> dict[str, BaseInfo]:
    """Give the registered bases that a name may mean, by their own names."""
    found = {info.name: info for info in _of_hub(context, told)}
    api = context.api
    here = api.get("/bases", Page[BaseInfo], location=told.name, limit=_MOST).items
    found |= {info.name: info for info in here}
    try:
        parse_base(told.name)
        own = api.get(base_path(told.name), BaseInfo)
    except (InvalidInput, NotFound):
        return found
    return found | {own.name: own}


def _of_hub(context: Context, told: NamedBase) -> list[BaseInfo]:
    """List bases by an id of the hub; a revision in the config must be the one recorded, if any."""
    known = context.api.get("/bases", Page[BaseInfo], hub_id=told.name, limit=_MOST).items
    if not told.revision:
        return known
    wanted = {told.name, f"{told.name}@{told.revision}"}
    return [info for info in known if wanted & set(info.hub_ids)]


def _nothing(context: Context, told: NamedBase) -> InvalidInput:
    known = ", ".join(i.name for i in context.api.get("/bases", Page[BaseInfo], limit=20).items)
    choose = f"--base with one of: {known}; or " if known else ""
    if not told.name:
        store = "store it: deltareg base push PATH NAME"
        return InvalidInput("no base is named", fix=f"{choose}{store}")
    hub_id = f" --hub-id {told.name}" if told.is_hub_id else ""
    return InvalidInput(
        f"no base is named; the config's {_describe_named(told)} is no registered base, and not on this machine",
        fix=f"{choose}register it: deltareg base register PATH NAME{hub_id}",
    )


def _describe_named(told: NamedBase) -> str:
    revision = f" at {told.revision[:40]!r}" if told.revision else ""
    return f"base_model_name_or_path {told.name[:120]!r}{revision}"
