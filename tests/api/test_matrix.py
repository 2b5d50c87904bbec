"""Every route, asked by everybody, about a namespace that is theirs, others', public or none.

On what each route is asked is in `reach_matrix.json` (see `matrix_tables`); what each role may comes
from `authz_matrix.json`, by the table of roles. A route without a row fails.

What somebody may not read answers as what was never there, word for word; what somebody may not do
is refused as it is where there is nothing, and leaves no trace.
"""

import json
import re

import pytest

from deltareg.service.authority import caller_grants, sight
from deltareg.service.authority import decide as decide_module
from deltareg.service.authority.grants import NonPrivateNamespaces, Right, implies
from deltareg.service.authority.resources import EVERYTHING
from deltareg.service.authority.roles import RIGHTS, Role
from deltareg.service.registry import Caller
from tests.api.matrix_tables import (
    BODY,
    HERE,
    KEY,
    NEVER_ANONYMOUS,
    NOWHERE,
    NUMBERS,
    OF_NAMESPACE,
    OF_WHO_ASKED,
    OF_WHOLE_NAMESPACE,
    QUERIES,
    REACH,
    RIGHTS_HERE,
    TAKEN_ONCE,
)
from tests.api.test_authz import HEADERS, MATRIX
from tests.api.world import AS, OTHERS, ROLES, WIDE, plain, routes, world
from tests.fixtures.databases import BOTH

EVERYBODY = (*ROLES, "liner", "limited", "foreign", *AS, *OTHERS, *WIDE, "anonymous")
DECISIVE = {"private": ("owner", "foreign", "anonymous"), "internal": ("foreign",), "public": ("anonymous",)}
ALL = dict.fromkeys(("private", "internal", "public"), EVERYBODY)
ENDS_ITSELF = ("signed-in", "POST /api/v1/sign-in:end")
"""After which there is nobody to ask any more."""
BY_QUERY = [route for route, reach in REACH.items() if reach in {"list", "number", "free"}]
TELLING = [
    "GET /api/v1/deltas",
    "GET /api/v1/runs",
    "GET /api/v1/runs/{run_id}",
    "GET /api/v1/resolve",
    "GET /api/v1/stats/storage",
    "PUT /api/v1/deltas/{ns}/{name}/channels/{channel}",
    "POST /api/v1/tokens",
]
FAULTS = {
    "who may read anything reads all": lambda p: p.setattr(
        decide_module, "_covers", lambda _reach, right, _on: right is Right.READ
    ),
    "a private namespace is like any": lambda p: p.setattr(
        caller_grants, "NonPrivateNamespaces", lambda _private: NonPrivateNamespaces(frozenset())
    ),
    "a limit of a token is forgotten": lambda p: p.setattr(
        caller_grants, "_limit_reach", lambda reach, _limits: [reach]
    ),
    "lists show everything": lambda p: p.setattr(Caller, "sight", None),
    "a role reaches everything": lambda p: p.setattr(
        caller_grants.HeldRole, "reach", property(lambda _self: EVERYTHING)
    ),
    "what is hidden is refused instead": lambda p: p.setattr(decide_module, "knows", lambda _grants, _on: True),
}


@pytest.fixture(scope="module", params=BOTH)
def filled(request):
    """Give a world on each of both databases."""
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        folder = request.getfixturevalue("tmp_path_factory").mktemp("world")
        (folder / "registry.db").write_bytes(template.read_bytes())
        with world(f"sqlite:///{folder / 'registry.db'}") as found:
            yield found
        return
    from tests.fixtures.databases import database

    server = request.getfixturevalue("postgresql_server")
    template = request.getfixturevalue("postgresql_template")
    with database(server, template=template) as url, world(url) as found:
        yield found


def test_every_route_has_a_row_and_every_row_a_route():
    assert sorted(REACH) == routes() == sorted(MATRIX)


def test_nobody_gets_past_the_table(filled):
    """On the second database only what it finds and leaves out by itself."""
    is_first = filled.registry.engine.dialect.name == "sqlite"

    assert mismatches(filled, DECISIVE, only=REACH if is_first else BY_QUERY) == []


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)
def test_nobody_gets_past_it_by_a_group_a_script_or_another_token(filled):
    """Each route asked by one of them, who has asked for nothing yet; by all of them in a soak."""
    wrong = []
    for each, who in enumerate((*AS, *OTHERS)):
        dealt = sorted(REACH.keys() - OF_WHO_ASKED)[each :: len(AS) + len(OTHERS)]
        wrong += mismatches(filled, {"private": (who,)}, only=dealt)

    assert wrong == []


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)
def test_a_role_on_some_channels_is_one_on_no_others(filled):
    routes = [route for route in REACH if "{channel}" in route and "promote" in MATRIX[route]]

    for route in routes:
        assert send(filled, "narrowed", route, HERE).status_code == 403, route
        assert send(filled, "narrowed", route, HERE | {"channel": "dev"}).status_code != 403, route
    assert routes


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)
def test_nobody_who_is_disabled_gets_in(filled):
    """With a token that nobody revoked."""
    filled.make("public")

    for route, reach in REACH.items():
        if reach not in {"nobody", "assertion"}:
            assert send(filled, "disabled", route, HERE).status_code == 401, route


def test_without_the_setting_nothing_is_read_without_a_token(filled):
    filled.make("public")

    for route, reach in REACH.items():
        if reach not in {"nobody", "assertion"}:
            answer = send(filled, "anonymous", route, HERE, anonymous_reading=False)
            assert answer.status_code == 401, route


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_the_defences_are_noticed(filled, monkeypatch, fault):
    """The rules are the same on both databases."""
    clear_caches()
    FAULTS[fault](monkeypatch)

    wrong = mismatches(filled, {"private": ("owner", "limited", "foreign")}, only=TELLING)

    monkeypatch.undo()
    clear_caches()
    assert wrong


def clear_caches():
    for kept in (
        caller_grants.grants_of_token,
        caller_grants.read_holdings,
        caller_grants.grants_within,
        caller_grants.grants_by_sight,
        sight.sight_of,
        decide_module.decide_cached,
    ):
        kept.cache_clear()


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_nobody_of_all_gets_past_the_table(filled):
    """Last: afterwards everybody has asked for as much as they may."""
    wrong = mismatches(filled, ALL)

    assert wrong == [], "\n".join(map(str, wrong))


def mismatches(world, asked, *, only=REACH):
    """Ask everything, and list what was not answered as the tables say; reads before writes."""
    wrong = []
    ordered = sorted(only, key=lambda route: not route.startswith("GET"))
    for visibility, people in asked.items():
        for who in people:
            world.make(visibility)
            for route in ordered:
                if (who, route) == ENDS_ITSELF:
                    continue
                found = judge(world, who, route, visibility)
                if found:
                    wrong.append((visibility, who, route, found))
    return wrong


def judge(world, who, route, visibility):
    """Say what is wrong with one answer; nothing where it is right."""
    before = world.trail()
    answer = send(world, who, route, HERE)
    status, is_allowed = answer.status_code, may(who, route, visibility)
    if status == 507 and is_allowed:
        return ""  # they have as much open as they may
    if status >= 500:
        return f"{plain(answer)}"
    if who == "anonymous" and not is_allowed and REACH[route] not in {"nobody", "list"}:
        is_right = status == 401 or (REACH[route] == "number" and status == 404)
    else:
        judged = JUDGES.get(REACH[route], judge_thing)
        is_right = judged(world, who, route, visibility, answer, is_allowed=is_allowed)
    if not is_right:
        return f"{'kept out' if is_allowed else 'let in'}: {plain(answer)}"
    return "" if is_allowed or world.trail() == before else "it left a trace"


def judge_list(_world, _who, _route, _visibility, answer, *, is_allowed):
    shows = "lab/x" in answer.text or '"lab"' in answer.text
    is_told = answer.status_code == 401  # of namespaces and their owners nobody hears
    return shows is is_allowed and (answer.status_code == 200 or is_told)


def judge_thing(world, who, route, visibility, answer, *, is_allowed):
    """What may not be read is as what is not there, and so is what may not be done to it."""
    is_none = answer.status_code in {403, 404}
    if not is_allowed and (may_read(who, visibility) or who == "liner"):
        return is_none  # it is known to be there
    if is_allowed and answer.status_code == 404 and route in TAKEN_ONCE:
        return True
    is_refused = is_none and plain(answer) == as_of_nothing(world, who, route)
    return is_refused is not is_allowed and not (is_allowed and answer.status_code in {401, 403})


def judge_own(_world, _who, _route, _visibility, answer, **_):
    return answer.status_code in {401, 403, 404}


def judge_shared(_world, _who, _route, _visibility, answer, *, is_allowed):
    return (answer.status_code in {401, 403}) is not is_allowed


JUDGES = {
    "list": judge_list,
    "own": judge_own,
    "share": judge_shared,
    "free": judge_shared,
    "everything": lambda *given, is_allowed: judge_shared(*given, is_allowed=is_allowed) or given[4].status_code == 404,
    "nobody": lambda *given, **_: given[4].status_code in {200, 404},  # nobody signs in there
    "assertion": lambda *given, **_: given[4].status_code == 400,  # whoever brings none
}


def as_of_nothing(world, who, route):
    """Ask the same of what was never there, and give the answer with the names changed back."""
    answer = send(world, who, route, NOWHERE)
    back = {"ns": ("nowhere", "lab")}
    for name, number in NUMBERS.items():
        if "{" + name + "}" in route:
            back[name] = (number, HERE[name])
    return plain(answer, **back)


def send(world, who, route, names, **more):
    def of(value):
        text = re.sub(r"\blab\b", names["ns"], json.dumps(value)).replace("r2", names["run_id"])
        return None if value is None else json.loads(text)

    version = "2" if "as-base" in route else names["version"]
    agent = "host" if route.startswith("DELETE") else who
    own = {"worker": who, "key": KEY, "run": names["run_id"]}  # what needs no enrolment
    body = own if route == "POST /api/v1/leases" else of(BODY.get(route))
    return world.ask(
        who,
        route,
        names | {"agent": agent, "version": version},
        params=of(QUERIES.get(route)),
        headers=HEADERS.get(route, {}),
        json=body,
        **more,
    )


def may(who, route, visibility):
    """Whether somebody may do what a route does, by the tables alone."""
    if REACH[route] in {"nobody", "assertion"}:
        return True
    if route == "POST /api/v1/namespaces":
        return who not in {"anonymous", "limited"}
    rights = {Right(word) for word in MATRIX[route] if word != "any"} or {Right.READ}
    rights = RIGHTS_HERE.get(route, rights)
    who = AS.get(who, who)
    if who in WIDE:
        return holds(WIDE[who], rights)
    if who == "narrowed" and route not in OF_WHOLE_NAMESPACE:
        who = "reader"  # of the line; what they promote, they promote to `dev` alone
    if REACH[route] == "everything":
        return False
    is_read = Right.READ in rights
    if who == "anonymous":
        is_for_all = REACH[route] != "share" and route not in NEVER_ANONYMOUS
        return is_read and is_for_all and visibility == "public"
    is_seen = REACH[route] == "share" or (visibility != "private" and who != "limited")
    is_known = who in {"liner", "narrowed"} and route in OF_NAMESPACE
    return is_known or (is_read and is_seen) or (who in ROLES and holds(who, rights))


def holds(role, rights):
    """Whether a role comes with one of some rights."""
    return any(implies(held, right) for held in RIGHTS[Role(role)] for right in rights)


def may_read(who, visibility):
    """Whether somebody may read the whole of `lab`."""
    return may(who, "GET /api/v1/deltas/{ns}/{name}/versions", visibility)
