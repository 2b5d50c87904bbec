"""Variants: bases that hold another base in few bits, and the hub ids of bases.

A delta trained on a variant is a version of its root. The server reads headers only: it compares
the names and shapes of a variant with those of its root, and trusts whoever registers it about the
numbers.
"""

import re

import sqlalchemy as sa

from deltareg.db.bases import bases as base_queries
from deltareg.db.bases import variants as queries
from deltareg.db.bases.rows import BaseRow
from deltareg.delta.base_manifest import base_view
from deltareg.delta.kind import BaseView
from deltareg.delta.quantised.fit import CODE, variant_problems
from deltareg.drawing.wording import count
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.identity.manifest import Manifest
from deltareg.service.authority.resources import Base
from deltareg.service.digest_cache import view_of_base
from deltareg.service.events import Action
from deltareg.service.registry import Caller
from deltareg.service.resolve import find_base
from deltareg.wire import BaseForm
from deltareg.words import Scheme

_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_HUB_ID = re.compile(rf"({_PART}(?:/{_PART})?)(?:@([\w./-]{{1,120}}))?", re.ASCII)
_KNOWN_MAX = 16


def check_form(form: BaseForm) -> None:
    """Refuse a form that could be recorded of no base at all.

    Raises:
        InvalidInput: There is a scheme without a root or a root without a scheme, or a hub id is
            malformed.
    """
    if bool(form.variant_of) != bool(form.quantised):
        raise InvalidInput(
            "a variant needs its root and its scheme", fix="say both: --variant-of ROOT --quantised SCHEME"
        )
    for text in form.hub_ids:
        parse_hub_id(text)


def parse_hub_id(text: str) -> tuple[str, str]:
    """Parse a hub id into the id and its revision, which is empty where none is named.

    Raises:
        InvalidInput: The text is no hub id.
    """
    match = _HUB_ID.fullmatch(text)
    if match is None:
        raise InvalidInput(f"no id of the hub: {text[:120]!r}", fix="write ORG/NAME or ORG/NAME@REV")
    return match[1], match[2] or ""


def check_variant(conn: sa.Connection, caller: Caller, form: BaseForm, own: Manifest) -> None:
    """Check a base against the root that it claims to be a variant of; does nothing without one.

    Args:
        conn: A transaction.
        caller: Who registers it.
        form: What the request claims about it.
        own: Its manifest.

    Raises:
        NotFound: There is no such root.
        Refused: The root is no base in full precision, or this base is not made of it.
    """
    if form.quantised is None:
        return
    root = _root_of(conn, caller, form)
    problems = variant_problems(base_view(own), form.quantised, _view(conn, root))
    if problems:
        raise Refused(problems)


def settle(conn: sa.Connection, caller: Caller, base: BaseRow, form: BaseForm) -> None:
    """Record the root, scheme and hub ids claimed for a stored base; known ones stay.

    Raises:
        Refused: The base is a variant of another base, by another scheme, or versions stand on it.
        InvalidInput: The base would have too many hub ids.
    """
    if form.quantised is not None:
        _make_variant(conn, caller, base, form, form.quantised)
    for text in form.hub_ids:
        hub_id, revision = parse_hub_id(text)
        if queries.add_hub_id(conn, base.id, hub_id=hub_id, revision=revision):
            _record(conn, caller, base, {"hub_id": text})
    if form.hub_ids and len(queries.hub_ids(conn, base.id)) > _KNOWN_MAX:
        message = f"{base.name} would have more than {_KNOWN_MAX} ids of the hub"
        raise InvalidInput(message, fix="leave --hub-id out, or register it under another name")


def packed_base(base: BaseRow) -> Problem:
    """Build the problem that nothing can stand on a variant itself."""
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
        message = f"{base.name} is a variant of {base.full_name} by {base.scheme}"
        raise Refused([Problem(CODE, message, fix="choose another name for this one")])
    if base.deltas:
        message = f"{base.name} as it is has {count(base.deltas, 'version')} on it"
        raise Refused([Problem(CODE, message, fix="register it under another name")])
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
