"""Groups, roles of one's own and roles on parts of a namespace, at random, against a model of what the docs say."""

import random
from collections import Counter

import hypothesis
import pytest
from hypothesis import strategies as st

from deltareg.db.access import grants as queries
from deltareg.db.access.bearers import live_token
from deltareg.db.access.groups import add_group, add_membership
from deltareg.db.access.namespaces import set_visibility
from deltareg.db.access.principals import principal_id
from deltareg.db.access.roles import add_role, find_role
from deltareg.db.lines.deltas import add_namespace
from deltareg.db.session import write
from deltareg.db.sql.row_protocols import present
from deltareg.errors import DeltaregError
from deltareg.refs import LineRef
from deltareg.service.access.groups import join_group_in, leave_group_in
from deltareg.service.access.members import add_member_in, end_member_in
from deltareg.service.access.roles import remove_role_in, set_role_in
from deltareg.service.access.tokens import bootstrap_token, caller_with, hash_secret
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import EVERYTHING, Channel, Namespace
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore
from deltareg.wire import MemberAdd, RoleSet
from deltareg.words import Scope
from tests.service.access_model import BUILT_IN, Model

PEOPLE = ("root", "ann", "bob", "cyd", "dan")
GROUPS = ("ml", "ops")
PLACES = ("den", "lab")
OWN = ("releaser", "trainer")
GIVEN = ("push", "promote", "approve", "serve", "maintain", "break-glass")
PATTERNS = ("", "", "bert-*", "bert-*@prod", "*@dev")
ASKED = [
    None,
    *PLACES,
    *(f"{ns}/{line}{at}" for ns in PLACES for line in ("bert-1", "gpt") for at in ("", "@dev", "@prod")),
]
START = {
    ("root", "admin", None, ""),
    ("ann", "maintainer", "den", ""),
    ("bob", "owner", "lab", ""),
    ("cyd", "break-glass", None, ""),
    ("ops", "maintainer", "lab", ""),
    ("ml", "owner", "den", ""),
    ("ops", "break-glass", "den", ""),
    ("dan", "releaser", "lab", "bert-*@prod"),
}
MEMBERS = {"ml": {"dan"}, "ops": {"bob", "dan"}}
ROLES: dict[tuple[str, str | None], set[str]] = {("releaser", None): {"read", "promote", "approve"}}

CHIEFS = ("root", "root", *PEOPLE)
KINDS = ("give",) * 6 + ("take", "take", "join", "join", "leave", "define", "define", "undefine")


def draw_history(choice, length):
    """Draw steps, each what somebody tries: its name, who tries it, and the rest that it takes."""
    return [draw_step(choice) for _ in range(length)]


def draw_step(choice):
    what, by, place = choice(KINDS), choice(CHIEFS), choice((None, *PLACES, *PLACES))
    match what:
        case "give":
            role, pattern = choice((*OWN, *OWN, *BUILT_IN)), choice(PATTERNS)
            return what, by, choice((*PEOPLE, *GROUPS, *GROUPS)), role, place, pattern
        case "take":
            return what, by, choice(range(30))
        case "join" | "leave":
            return what, by, choice(GROUPS), choice(PEOPLE)
        case "define":
            return what, by, choice(OWN), place, frozenset({choice(GIVEN), choice(GIVEN)})
        case _:
            return what, by, choice(OWN), place


class Organisation:
    """The registry of one history, in one transaction that is rolled back."""

    def __init__(self, registry, conn, secrets):
        self.registry, self.conn, self.secrets = registry, conn, secrets

    def caller(self, who):
        row = present(live_token(self.conn, hash_secret(self.secrets[who])))
        return caller_with(self.registry, self.conn, row, "r")

    def does(self, what, by, *rest):
        """Try a step; return whether it was allowed."""
        try:
            with self.conn.begin_nested():
                getattr(self, what)(self.caller(by), *rest)
        except DeltaregError:
            return False
        return True

    def give(self, by, who, name, at, pattern):
        add_member_in(self.conn, by, MemberAdd(principal=who, role=name, namespace=at, pattern=pattern))

    def take(self, by, grant):
        who, name, at, pattern = grant
        rows = queries.grant_rows(self.conn, principal_id=principal_id(self.conn, who), role=name)
        end_member_in(self.conn, by, next(r.id for r in rows if (r.namespace, r.pattern) == (at, pattern)))

    def join(self, by, group, who):
        join_group_in(self.conn, by, group, who)

    def leave(self, by, group, who):
        leave_group_in(self.conn, by, group, who)

    def define(self, by, name, at, rights):
        set_role_in(self.conn, by, RoleSet(name=name, namespace=at, rights=sorted(rights)))

    def undefine(self, by, name, at):
        remove_role_in(self.conn, by, name, at)

    def held(self):
        return {(r.principal, r.role, r.namespace, r.pattern) for r in queries.grant_rows(self.conn)}

    def allowed(self):
        """Return all that anybody may do now, anywhere."""
        callers = {who: self.caller(who) for who in PEOPLE}
        return {
            (who, right.value, asked)
            for who, caller in callers.items()
            for right in Right
            for asked in ASKED
            if caller.may(right, on=resource(asked))
        }


def resource(asked):
    if asked is None:
        return EVERYTHING
    namespace, _, rest = asked.partition("/")
    name, _, channel = rest.partition("@")
    if not name:
        return Namespace(namespace)
    return Channel(LineRef(namespace, name), channel) if channel else LineRef(namespace, name)


@pytest.fixture
def started(sqlite_engine):
    """Give a registry with people, groups and namespaces, and the people's tokens, which are for everything."""
    registry = Registry(sqlite_engine, MemoryStore())
    scopes: list[Scope] = ["admin", "break-glass"]
    secrets = {who: bootstrap_token(registry, principal=who, kind="pat", scopes=scopes) for who in PEOPLE}
    with write(sqlite_engine) as conn:
        for grant in queries.grant_rows(conn):
            queries.end_grant(conn, grant.id, ended_by=grant.principal_id)
        first = present(principal_id(conn, PEOPLE[0]))
        ids = {name: add_namespace(conn, name, created_by=first).id for name in PLACES}
        set_visibility(conn, ids["den"], "private")
        for name, people in MEMBERS.items():
            group = present(add_group(conn, name, source="", created_by=None))
            for who in people:
                add_membership(conn, group.id, present(principal_id(conn, who)), created_by=None)
        add_role(conn, "releaser", namespace_id=None, rights="approve+promote+read", created_by=None)
        for who, name, at, pattern in START:
            place = None if at is None else ids[at]
            own = find_role(conn, name, place)
            queries.add_grant(
                conn,
                present(principal_id(conn, who)),
                role=name,
                namespace_id=place,
                pattern=pattern,
                created_by=None,
                role_id=None if own is None else own.id,
            )
    return registry, secrets


def try_history(started, history):
    """Try a history on the registry and on the model; return the steps, each with whether it was allowed."""
    registry, secrets = started
    model = Model({"den"}, {name: set(people) for name, people in MEMBERS.items()}, {**ROLES}, set(START))
    tried: Counter[tuple[str, bool]] = Counter()
    with registry.engine.connect() as conn:
        organisation = Organisation(registry, conn, secrets)
        for what, by, *named in history:
            grants = sorted(model.held, key=str)
            rest = [grants[named[0] % len(grants)]] if what == "take" else named
            expected = getattr(model, what)(by, *rest)
            assert organisation.does(what, by, *rest) == expected, (what, by, *rest)
            tried[what, expected] += 1
        asked = {
            (who, right.value, at) for who in PEOPLE for right in Right for at in ASKED if model.may(who, right, at)
        }
        assert organisation.held() == model.held
        assert organisation.allowed() == asked
        conn.rollback()
    return tried


def test_everybody_may_what_the_docs_say(started):
    tried: Counter[tuple[str, bool]] = Counter()
    for seed in range(200):
        tried += try_history(started, draw_history(random.Random(seed).choice, 6))

    assert {(what, allowed) for what in KINDS for allowed in (True, False)} == set(tried), tried


@pytest.mark.soak
@hypothesis.settings(max_examples=2_000, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(st.randoms(use_true_random=False), st.integers(10, 60))
def test_everybody_may_what_the_docs_say_after_many_steps(started, drawn, length):
    try_history(started, draw_history(drawn.choice, length))
