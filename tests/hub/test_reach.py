"""Every route for clients of the hub, asked by everybody about what is theirs, others' or public.

The people and the namespace `lab` are those of `tests/api/test_matrix.py`; `FOR` says of each route
what it is about. A route without a row fails. What somebody may not read answers as what was never
there, to the letter and to the header; what somebody may not push to leaves no trace.
"""

from collections.abc import Callable, Mapping

import pytest
from fastapi.routing import iter_route_contexts

from deltareg.api.hub import elsewhere
from deltareg.service.authority.grants import Right
from deltareg.service.registry import Caller
from tests.api.test_matrix import ALL, DECISIVE, FAULTS, clear_caches, holds
from tests.api.world import AS, ROLES, WIDE, plain, routes, world
from tests.fixtures.databases import BOTH

OPEN = {"hub_main": "prod", "hub_address": "http://127.0.0.1:9"}
OF, NAMED = "/api/models/{ns}/{name}", "/api/models/{name}"
READS = (
    "GET {}",
    "GET {}/auth-check",
    "GET {}/revision/{revision:path}",
    "GET {}/refs",
    "GET {}/tree/{revision}",
    "GET {}/tree/{revision}/{folder:path}",
    "GET {}/commits/{revision:path}",
    "POST {}/paths-info/{revision:path}",
)
ONLY_OF_DELTAS = ("GET {}/discussions", "GET {}/likers")
FILES = ("GET {}/resolve/{revision}/{path:path}", "HEAD {}/resolve/{revision}/{path:path}")
FOR = {
    **{route.replace("{}", OF, 1): "line" for route in READS},
    **{route.replace("{}", OF, 1): "line" for route in ONLY_OF_DELTAS},
    **{route.replace("{}", NAMED, 1): "base" for route in READS},
    **{route.replace("{}", "/{ns}/{name}", 1): "line" for route in FILES},
    **{route.replace("{}", "/{name}", 1): "base" for route in FILES},
    "POST /api/repos/create": "push",
    f"PUT {OF}/settings": "push",
    f"POST {OF}/tag/{{revision:path}}": "push",
    f"DELETE {OF}/tag/{{tag:path}}": "untag",
    f"POST {OF}/preupload/{{revision:path}}": "push",
    f"POST {OF}/commit/{{revision:path}}": "push",
    f"GET {OF}/xet-write-token/{{revision:path}}": "push",
    "POST /{ns}/{name}.git/info/lfs/objects/batch": "push",
    # What was sent is looked at as it comes; these agree to anything that somebody says.
    "POST /{ns}/{name}.git/info/lfs/verify": "anybody",
    "GET /api/whoami-v2": "anybody",
    # What is listed is looked at in `test_listing.py`.
    "GET /api/models": "anybody",
    # A README is looked at without a token.
    "POST /api/validate-yaml": "open",
    # The address, and the token that comes with it, are the right.
    "PUT /lfs/{ticket}": "ticket",
    "POST /cas/{area}/v1/xorbs/{prefix}/{name}": "ticket",
    "POST /cas/{area}/v1/shards": "ticket",
    # They say how it is done here, and look at nothing.
    f"POST {OF}/discussions": "advice",
    f"POST {OF}/branch/{{rest:path}}": "advice",
    f"DELETE {OF}/branch/{{rest:path}}": "advice",
    f"GET {OF}/discussions/{{rest:path}}": "advice",
    f"POST {OF}/discussions/{{rest:path}}": "advice",
    f"GET {OF}/user-access-request/{{rest:path}}": "advice",
    f"POST {OF}/user-access-request/{{rest:path}}": "advice",
    f"POST {OF}/like": "advice",
    f"DELETE {OF}/like": "advice",
    f"POST {OF}/duplicate": "advice",
    f"GET {OF}/lfs-files": "advice",
    f"POST {OF}/lfs-files/batch": "advice",
    f"POST {OF}/lfs-files/duplicate": "advice",
    f"POST {OF}/super-squash/{{rest:path}}": "advice",
    "DELETE /api/repos/delete": "advice",
    "POST /api/repos/move": "advice",
}
LAB = {
    "ns": "lab",
    "name": "x",
    "revision": "v1",
    "folder": "",
    "path": "m.safetensors",
    "ticket": "0" * 32,
    "area": "0" * 32,
    "prefix": "default",
    "rest": "v9",
    "tag": "best",
}
NOT_THERE = {"lab/none": {"ns": "lab", "name": "none"}, "nowhere/x": {"ns": "nowhere", "name": "x"}}
OID = "a" * 64
COMMIT = b'{"key": "header", "value": {"summary": "s"}}'
FAULTS_HERE = FAULTS | {
    "a repository is found without asking who may know of it": lambda p: p.setattr(
        Caller, "sees", lambda _self, _on: True
    ),
    "a line is read by whoever knows of it": lambda p: p.setattr(Caller, "require", lambda _self, _right, *, on: on),
    "a base is known to all": lambda p: p.setattr(Caller, "may", lambda _self, _right, *, on: on),
}
for _fault in (  # of lists, and of what a role is not asked for here
    "lists show everything",
    "a role reaches everything",
    "what is hidden is refused instead",
):
    del FAULTS_HERE[_fault]
TELLING = [f"GET {OF}", f"GET {NAMED}", f"GET {OF}/refs", f"GET {OF}/xet-write-token/{{revision:path}}"]


@pytest.fixture(scope="module", params=BOTH)
def filled(request):
    """Give a world on each of both databases, with the interface of the hub."""
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        folder = request.getfixturevalue("tmp_path_factory").mktemp("world")
        (folder / "registry.db").write_bytes(template.read_bytes())
        with world(f"sqlite:///{folder / 'registry.db'}", **OPEN) as found:
            yield found
        return
    from tests.fixtures.databases import database

    server = request.getfixturevalue("postgresql_server")
    template = request.getfixturevalue("postgresql_template")
    with database(server, template=template) as url, world(url, **OPEN) as found:
        yield found


def test_every_route_of_the_hub_has_a_row_and_every_row_a_route():
    without = {*routes(with_heads=True)}
    here = {*routes(with_heads=True, **OPEN)} - without

    assert here == {*FOR} | paths_of(elsewhere.others)


def paths_of(router):
    return {
        f"{method} {context.path}" for context in iter_route_contexts(router.routes) for method in context.methods or ()
    }


def test_nobody_gets_past_the_table(filled):
    wrong = mismatches(filled, DECISIVE)

    assert wrong == [], "\n".join(map(str, wrong))


@pytest.mark.soak
def test_nobody_of_all_gets_past_the_table(filled):
    wrong = mismatches(filled, ALL)

    assert wrong == [], "\n".join(map(str, wrong))


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)
def test_without_the_setting_nothing_is_read_without_a_token(filled):
    filled.make("public")

    for route, about in FOR.items():
        if about not in {"ticket", "open"}:
            answer = send(filled, "anonymous", route, LAB, anonymous_reading=False)
            assert answer.status_code == 401, route


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)
@pytest.mark.parametrize("fault", FAULTS_HERE)
def test_faults_in_the_defences_are_noticed(filled, monkeypatch, fault):
    """The rules are the same on both databases."""
    clear_caches()
    FAULTS_HERE[fault](monkeypatch)

    asked = {"private": ("owner", "limited", "foreign", "anonymous")}
    wrong = mismatches(filled, asked, only=TELLING)

    monkeypatch.undo()
    clear_caches()
    assert wrong


def mismatches(filled, asked, *, only=FOR):
    """Ask everything, and list what was not answered as the tables say."""
    wrong = []
    for visibility, people in asked.items():
        filled.make(visibility)
        for who in people:
            for route in only:
                found = judge(filled, who, route, FOR[route], visibility)
                if found:
                    wrong.append((visibility, who, route, found))
    return wrong


def judge(filled, who, route, about, visibility):
    """Say what is wrong with one answer; nothing where it is right."""
    before = filled.trail()
    answer = send(filled, who, route, LAB)
    is_allowed = may(who, about, visibility)
    if answer.status_code >= 500:
        return f"{plain(answer)}"
    if not JUDGES[about](filled, who, route, answer, is_allowed=is_allowed):
        return f"{'kept out' if is_allowed else 'let in'}: {answer.status_code} {answer.text}"
    return "" if is_allowed or filled.trail() == before else "it left a trace"


def judge_read(filled, who, route, answer, *, is_allowed):
    if is_allowed:
        return is_given(route, answer)
    return answer.status_code == 404 and all(
        as_told(answer) == as_told(send(filled, who, route, LAB | names), of=name)
        for name, names in NOT_THERE.items()
        if name != "nowhere/x" or who != "liner"  # who has a line of `lab` knows that it is there
    )


def is_given(route, answer):
    """Whether somebody is let in; by GET a file is asked for that the commit has not."""
    if route.startswith("GET") and "resolve" in route:
        return answer.status_code == 404 and "X-Repo-Commit" in answer.headers
    return answer.status_code == 200


def judge_base(filled, who, route, answer, *, is_allowed):
    if is_allowed:
        return is_given(route, answer)
    nothing = send(filled, who, route, LAB | {"name": "none"})
    return answer.status_code == 404 and as_told(answer) == as_told(nothing, of="none", here="tiny")


def judge_push(_filled, who, _route, answer, *, is_allowed):
    if is_allowed:
        return answer.status_code in {200, 409}
    return answer.status_code == (401 if who == "anonymous" else 403)


def judge_untag(filled, who, route, answer, *, is_allowed):
    """The tag may be gone since it was asked for the last time."""
    is_gone = is_allowed and (answer.status_code, answer.json().get("code")) == (404, "not_found")
    return is_gone or judge_push(filled, who, route, answer, is_allowed=is_allowed)


JUDGES: Mapping[str, Callable[..., bool]] = {
    "line": judge_read,
    "base": judge_base,
    "push": judge_push,
    "untag": judge_untag,
    "open": lambda _filled, _who, _route, answer, **_: answer.status_code == 200,
    "anybody": lambda _filled, who, _route, answer, **_: (
        answer.status_code == 200 or (who, answer.status_code) == ("anonymous", 401)
    ),
    "ticket": lambda _filled, _who, _route, answer, **_: answer.status_code in {401, 404},
    "advice": lambda _filled, _who, _route, answer, **_: answer.status_code == 422,
}


def as_told(answer, *, of="lab/x", here="lab/x"):
    """Give what an answer tells, with what it was asked about called as here."""
    told = {
        name: answer.headers.get(name, "").replace(of, here)
        for name in ("X-Error-Code", "X-Error-Message", "X-Repo-Commit")
    }
    return told, plain(answer, of=(of, here), name=(f"--hub-id {of}", f"--hub-id {here}"))


def send(filled, who, route, names, **more):
    if FOR[route] == "base":
        names = {"name": "tiny"} | {k: v for k, v in names.items() if k != "name" or v == "none"}
        names |= {"revision": "main"}
    if FOR[route] == "push":
        names = names | {"revision": "main"}
    if route.startswith("GET") and "resolve" in route:
        names = names | {"path": "none.json"}
    if FOR[route] == "ticket":
        names = names | {"name": OID}
    body = (
        {"content": COMMIT}
        if "/commit/" in route
        else {}
        if "shards" in route or "xorbs" in route or route.startswith(("GET", "HEAD"))
        else {"json": body_of(route, names)}
    )
    if route.startswith("DELETE"):
        body = {}
    return filled.ask(who, route.replace(":path", ""), names, **body, **more)


def body_of(route, names):
    if route.endswith("/create"):
        return {"name": f"{names['ns']}/{names['name']}"}
    if "batch" in route:
        return {"operation": "upload", "objects": [{"oid": OID, "size": 1}]}
    if "paths-info" in route:
        return {"paths": ["m.safetensors"]}
    if "/tag/" in route:
        return {"tag": names["tag"]}
    return {"files": [{"path": "a.json", "size": 1}]}


def may(who, about, visibility):
    """Whether somebody may do what a route does, by the roles alone."""
    if about not in {"line", "base", "push", "untag"}:
        return True
    about = "push" if about == "untag" else about
    right = {Right.PUSH if about == "push" else Right.READ}
    who = "reader" if who == "narrowed" else AS.get(who, who)
    if who in WIDE:
        return holds(WIDE[who], right)
    if about == "base":
        return who != "anonymous"
    if who in ROLES and holds(who, right):
        return True
    if about == "push" or who == "limited":
        return False
    return visibility == "public" if who == "anonymous" else visibility != "private"
