"""Hiding, in what is shown of a version or a base, the names that the caller may not see.

A version may stand on a version of another namespace, whose name must not reach anybody who does
not see that namespace. Roots and digests stay: they identify bytes and are part of the version.
"""

from typing import TypeVar

from deltareg.db.sql.row_protocols import VersionColumns
from deltareg.refs import LineRef, Ref
from deltareg.service.authority.resources import Base
from deltareg.service.corrupt import UNSEEN
from deltareg.service.describe import line_of, ref_of
from deltareg.service.registry import Caller
from deltareg.wire import BaseInfo, BaseName, VersionDetail, VersionInfo

Info = TypeVar("Info", bound=VersionInfo)


def veil_base(caller: Caller, info: Info) -> Info:
    """Return a version without the names of its base and successor, if the caller may not see them."""
    if info.deprecation is not None and not (_sees_ref(caller, info.deprecation.successor)):
        hidden = info.deprecation.model_copy(update={"successor": ""})
        info = info.model_copy(update={"deprecation": hidden})
    if is_seen(caller, info.base.name):
        return info
    return info.model_copy(update={"base": BaseName(name=UNSEEN, root=info.base.root)})


def veiled_detail(caller: Caller, detail: VersionDetail) -> VersionDetail:
    """Return the details of a version without the names that the caller may not see."""
    detail = veil_base(caller, detail)
    names = (*detail.stack, *detail.parents, *map(_plain, detail.relying))
    if all(is_seen(caller, name) for name in names):
        return detail
    stack = [name if is_seen(caller, name) else UNSEEN for name in detail.stack]
    parents = [name for name in detail.parents if is_seen(caller, name)]
    relying = [name for name in detail.relying if is_seen(caller, _plain(name))]
    return detail.model_copy(update={"stack": stack, "parents": parents, "relying": relying})


def veiled_base(caller: Caller, info: BaseInfo) -> BaseInfo:
    """Return a base without the names of others that the caller may not see."""
    update: dict[str, object] = {
        "relations": [
            each if is_seen(caller, each.name or "") else each.model_copy(update={"name": None})
            for each in info.relations
        ],
        "variants": [name for name in info.variants if is_seen(caller, name)],
    }
    for field, named in (("bottom", info.bottom), ("variant_of", info.variant_of)):
        if named is not None and not is_seen(caller, named.name):
            update[field] = BaseName(name=UNSEEN, root=named.root)
    return info.model_copy(update=update)


def tell_version(caller: Caller, row: VersionColumns) -> str:
    """Format the name of a version for people; masked if they may not see it."""
    if caller.sees(line_of(row)):
        return ref_of(row)
    return "a version of a namespace that you do not see"


def _sees_ref(caller: Caller, ref: str) -> bool:
    return not ref or caller.sees(caller.current_ref(Ref.parse(ref)).line)


def _plain(name: str) -> str:
    """Remove the prefix that the audit trail puts before the name of a base."""
    is_version = ":" in name and name.count("/") == 1
    return name if is_version else name.removeprefix("base/")


def is_seen(caller: Caller, name: str) -> bool:
    """Whether a caller may see the version or base of a name; shared bases are always seen."""
    if "/" not in name:
        return True
    on = Ref.parse(name).line if ":" in name else LineRef.parse(name)
    return caller.sees(Base(name)) or caller.sees(on)
