"""Variants: bases that are another base in few bits, and the ids that the hub has for bases.

What is trained on a variant is a version of its root. The server reads headers alone: it holds the
names and shapes of a variant against its root's, and about the numbers it believes who registers.
"""

import re

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases import variants as queries
from deltareg.db.bases.rows import BaseRow
from deltareg.delta.base_manifest import base_view
from deltareg.delta.kind import BaseView
from deltareg.delta.quantised.fit import CODE, variant_problems
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.identity.manifest import Manifest
from deltareg.service.authority.resources import Base
from deltareg.service.events import Action
from deltareg.service.kept import view_of_base
from deltareg.service.registry import Caller
from deltareg.service.resolve import find_base
from deltareg.wire import BaseForm
from deltareg.words import Scheme

_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_HUB_ID = re.compile(rf"({_PART}(?:/{_PART})?)(?:@([\w./-]{{1,120}}))?", re.ASCII)
_KNOWN_MAX = 16


def check_form(form: BaseForm) -> None:
    """Refuse what nobody can record of a base, whatever the base.

    Raises:
        InvalidInput: A scheme without a root or the other way round, or no id of the hub.
    """
    if bool(form.variant_of) != bool(form.quantised):
        raise InvalidInput(
            "a variant needs its root and its scheme", fix="say both: --variant-of ROOT --quantised SCHEME"
        )
    for text in form.hub_ids:
        parse_hub_id(text)


def parse_hub_id(text: str) -> tuple[str, str]:
    """Read an id of the hub and its revision, which is empty where none is named.

    Raises:
        InvalidInput: It is none.
    """
    match = _HUB_ID.fullmatch(text)
    if match is None:
        raise InvalidInput(f"no id of the hub: {text[:120]!r}", fix="write ORG/NAME or ORG/NAME@REV")
    return match[1], match[2] or ""


def check_variant(conn: sa.Connection, caller: Caller, form: BaseForm, own: Manifest) -> None:
    """Hold a base against the root that it is said to be a variant of; says nothing without one.

    Args:
        conn: A transaction.
        caller: Who registers it.
        form: What is said of it.
        own: Its manifest.

    Raises:
        NotFound: There is no such root.
        Refused: It is no base in full precision, or not what this is made of.
    """
    if form.quantised is None:
        return
    root = _root_of(conn, caller, form)
    problems = variant_problems(base_view(own), form.quantised, _view(conn, root))
    if problems:
        raise Refused(problems)


def settle(conn: sa.Connection, caller: Caller, base: BaseRow, form: BaseForm) -> None:
    """Record what is said of a base that is there; what stands already is left alone.

    Raises:
        Refused: It is a variant of another base, by another scheme, or versions stand on it.
        InvalidInput: It would have too many ids of the hub.
    """
    if form.quantised is not None:
        _make_variant(conn, caller, base, form, form.quantised)
    for text in form.hub_ids:
        hub_id, revision = parse_hub_id(text)
        if queries.add_hub_id(conn, base.id, hub_id=hub_id, revision=revision):
            _record(conn, caller, base, {"hub_id": text})
    if form.hub_ids and len(queries.hub_ids(conn, base.id)) > _KNOWN_MAX:
        told = f"{base.name} would have more than {_KNOWN_MAX} ids of the hub"
        raise InvalidInput(told, fix="leave --hub-id out, or register it under another name")


def packed_base(base: BaseRow) -> Problem:
    """Say that nothing stands on a variant itself."""
    return Problem(
        "quantised_base",
        f"the base {base.name} holds packed weights ({base.scheme})",
        fix=f"push it with a current client, which holds it against {base.full_name}",
    )


def _make_variant(conn: sa.Connection, caller: Caller, base: BaseRow, form: BaseForm, scheme: Scheme) -> None:
    root = _root_of(conn, caller, form)
    if base.scheme is not None:
        if (base.full_id, base.scheme) == (root.id, scheme):
            return
        told = f"{base.name} is a variant of {base.full_name} by {base.scheme}"
        raise Refused([Problem(CODE, told, fix="choose another name for this one")])
    if base.deltas:
        told = f"{base.deltas} versions stand on {base.name} as it is"
        raise Refused([Problem(CODE, told, fix="register it under another name")])
    queries.add_variant(conn, base.id, root_id=root.id, scheme=scheme)
    _record(conn, caller, base, {"variant_of": root.name, "quantised": scheme})


def _root_of(conn: sa.Connection, caller: Caller, form: BaseForm) -> BaseRow:
    root = find_base(conn, caller, form.variant_of)
    if root.scheme is not None or root.version_id is not None:
        what = "a version" if root.scheme is None else f"a variant of {root.full_name} itself"
        raise Refused([Problem(CODE, f"{root.name} is {what}", fix="name the base in full precision")])
    return root


def _view(conn: sa.Connection, base: BaseRow) -> BaseView:
    return view_of_base(base.manifest_digest, lambda: base_queries.base_content(conn, base.id).manifest)


def _record(conn: sa.Connection, caller: Caller, base: BaseRow, after: dict[str, str]) -> None:
    caller.record(conn, Action.BASE_REGISTER, f"base/{base.name}", on=Base(base.name), before=None, after=after)
