"""Hostile text in every place that takes text: refused or not found, and no fault of the server.

SQLite is asked everything, some of the texts in the soak only. PostgreSQL is asked what it might
take otherwise than SQLite does: bytes that are no text, numbers that are too large, text that is
too long.
"""

import http.client
import json
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from urllib.parse import urlencode, urlsplit

import pytest
from fastapi.routing import iter_route_contexts

from tests.api.test_authz import BODIES, HEADERS, QUERIES
from tests.api.test_authz import NAMES as PLACES
from tests.fixtures.registries import SCOPES
from tests.signers import enrol_named, sign_text

NAMES = PLACES | {"agent": "host-1"}
RAW = [
    "a%00b",
    "..",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "%252e%252e%252f",
    "%ff%fe",
    "%F0%9F%98%80",
    "'%20OR%20'1'='1",
    "%0d%0aSet-Cookie:%20a=b",
    "A" * 5000,
    "-1",
    "9" * 30,
    "1e400",
    "NaN",
    "a/b@prod%2399999999999",
    "%D9%A3",
]
RAW_QUICKLY = [
    "a%00b",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%ff%fe",
    "'%20OR%20'1'='1",
    "%0d%0aSet-Cookie:%20a=b",
    "A" * 5000,
    "9" * 30,
    "NaN",
    "a/b@prod%2399999999999",
    "%D9%A3",
]
RAW_OTHERWISE = ["a%00b", "%ff%fe", "A" * 5000, "9" * 30, "NaN", "a/b@prod%2399999999999"]
TEXTS = ["", "\0", "a\0b", "\ud800", "a" * 100_000, "../../etc/passwd", "\u202e", "{}", "[", "٣"]
TAKEN_HEADERS = [
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Range",
    "X-Content-Digest",
    "X-Request-Id",
    "Content-Type",
    "Origin",
    "Accept",
    "traceparent",
]
VALUES = [
    *TEXTS,
    None,
    True,
    -1,
    2**31,
    2**63,
    10**400,
    1e308,
    [],
    {},
    {"a": {"b": "\0"}},
    {"\0": "x"},
    {"\ud800": "x"},
    ["\0"],
    float("nan"),
]
VALUES_OTHERWISE = [
    "\0",
    "a\0b",
    "\ud800",
    "a" * 100_000,
    2**31,
    2**63,
    10**400,
    1e308,
    {"a": {"b": "\0"}},
    {"\0": "x"},
    {"\ud800": "x"},
    ["\0"],
    float("nan"),
]
# Each place is tried with every second of them, each of them at many places; the soak tries all.
TURNS = pytest.mark.parametrize("every", [2, pytest.param(1, marks=pytest.mark.soak)], ids=["by turns", "all"])
# A field that no route knows is refused by its name; its value can do harm in the refusal only.
FIELDS_OF_NONE = ["unknown", "\ud800", "\0"]
VALUES_OF_NONE = ["\0", "\ud800", "a" * 100_000, 10**400, {"\0": "x"}, float("nan")]


def described(app):
    """Give each route with the names of the parameters in its path and its query."""
    document = app.openapi()["paths"]
    for route in iter_route_contexts(app.routes):
        for method in sorted(set(route.methods or ()) - {"HEAD"}):
            operation = document.get(route.path, {}).get(method.lower(), {})
            parameters = operation.get("parameters", [])
            yield (
                f"{method} {route.path}",
                {place: [p["name"] for p in parameters if p["in"] == place] for place in ("path", "query")},
            )


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status_code: int
    text: str


class Sender:
    """Sends addresses as they stand: a well-behaved client would put them in order first."""

    def __init__(self, server):
        self._headers = {"Authorization": f"Bearer {server.token(*SCOPES)}"}
        self._open = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)

    def send(self, route, *, query=None, body=None, **changed):
        """Send what a route is asked; `changed` are the names in its path that are others."""
        method, _, path = route.partition(" ")
        target = path.format(**NAMES | changed) + (f"?{query}" if query else "")
        headers = self._headers | HEADERS.get(route, {})
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            self._open.request(method, target, body=body, headers=headers)
            answer = self._open.getresponse()
            return Answer(answer.status, answer.read().decode(errors="replace"))
        except (http.client.HTTPException, OSError) as error:
            self._open.close()  # the next request opens it again
            return Answer(599, f"no answer: {error!r}")

    def close(self):
        self._open.close()


def told(server, everything, otherwise):
    """Give what a server's database is told."""
    return everything if server.registry.engine.dialect.name == "sqlite" else otherwise


def fits(answer):
    """Tell whether an answer is one of those that hostile input may get: no fault, and no file."""
    is_quota = answer.status_code == 507 and '"code":"quota"' in answer.text.replace(" ", "")
    return (answer.status_code < 500 or is_quota) and "root:" not in answer.text


@TURNS
def test_text_in_paths_and_queries(every, both_databases):
    both_databases.line("lora")
    raws, turns, wrong = RAW if every == 1 else RAW_QUICKLY, count(), []

    with closing(Sender(both_databases)) as sender:
        for route, names in described(both_databases.app):
            query = QUERIES.get(route, {})
            body = json.dumps(BODIES[route]) if route in BODIES else None
            for place, name in [(at, name) for at in names for name in names[at]]:
                for raw in taking_turns(told(both_databases, raws, RAW_OTHERWISE), turns, every):
                    if place == "path":
                        answer = sender.send(route, query=urlencode(query), body=body, **{name: raw})
                    else:
                        asked = "&".join(f"{k}={v}" for k, v in (query | {name: raw}).items())
                        answer = sender.send(route, query=asked, body=body)
                    wrong += [] if fits(answer) else [(route, name, raw, answer.status_code)]

    assert wrong == []


@TURNS
def test_values_in_bodies(every, both_databases):
    both_databases.line("lora")
    of_none = [(field, value) for field in FIELDS_OF_NONE for value in VALUES_OF_NONE]
    turns, wrong = count(), []

    with closing(Sender(both_databases)) as sender:
        for route, body in sample_bodies().items():
            values = told(both_databases, VALUES, VALUES_OTHERWISE)
            tried = [(one, value) for one in body for value in taking_turns(values, turns, every)]
            # What no database ever sees.
            tried += taking_turns(told(both_databases, of_none, []), turns, every)
            for field, value in tried:
                answer = sender.send(route, body=json.dumps(body | {field: value}))
                if not fits(answer):
                    wrong.append((route, field, repr(value)[:40], answer.status_code))

    assert wrong == []


def taking_turns(values, turns, every):
    """Give every second of the values at one place, the others at the next; or all of them."""
    return values[next(turns) % every :: every]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 5000,
        b"NaN",
        b'{"ref": NaN}',
    ],
)
def test_bodies_that_are_no_object(shared_registry, body):
    http = shared_registry.http(shared_registry.token(*SCOPES))

    for path in ("/runs", "/tokens", "/uploads", "/leases", "/uploads/u:complete"):
        answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {200, 400, 422}, (path, answer.text)


def test_headers(shared_registry):
    http = shared_registry.http(shared_registry.token(*SCOPES))

    for value in (b"\xff", b"a" * 8000, b"'", b"\xc3\xa9", b"%00", b"../..", b"bytes=" + b"0-1," * 900):
        for name in TAKEN_HEADERS:
            for method, path in (
                ("GET", "/deltas/team/lora/channels/prod"),
                ("POST", "/runs"),
                ("PUT", "/uploads/u/packs/0"),
            ):
                answer = http.request(method, path, content=b'{"ref":"team/lora"}', headers={name: value})
                assert answer.status_code < 500, (name, value, path)


def sample_bodies():
    """Give the bodies of all routes, with the optional fields that the table leaves out."""
    more: dict[str, dict[str, object]] = {
        "POST /api/v1/tokens": {"kind": "pat", "scopes": ["read"], "expires_in_s": 60, "note": "n"},
        "POST /api/v1/uploads": {
            "message": "m",
            "semver": "1.0.0",
            "labels": {},
            "location": "l",
            "register_only": False,
        },
        "POST /api/v1/runs": {"what": "verify", "suite": "smoke", "again": False, "labels": {}},
        "POST /api/v1/leases": {"worker": "w", "labels": {}, "wait_s": 0, "key": "k", "host": "h"},
        "POST /api/v1/keys": {"host": "h", "replaces": False},
        "POST /api/v1/runs/{run_id}:complete": {"sandbox": "none"},
        "POST /api/v1/deltas/{ns}/{name}/channels/{channel}/revisions": {
            "version": 1,
            "revision": 1,
            "steps": 1,
            "reason": "r",
            "dry_run": True,
        },
    }
    return {route: BODIES.get(route, {}) | more.get(route, {}) for route in {**BODIES, **more}}


def test_a_report_full_of_oddities_is_kept_or_refused(both_databases):
    """Numbers that JSON may hold and databases may not, in the checks of a live run."""
    client = both_databases.line("lora")
    http = both_databases.http(both_databases.token(*SCOPES, principal="worker", kind="wrk"))
    key = enrol_named(both_databases.registry.engine, "worker")

    for value in ("NaN", "Infinity", "-Infinity", "1e999", "1" * 400, '"\\u0000"', '"\\ud800"', "1e-400"):
        run = client.verify("team/lora", again=True)
        lease = http.post("/leases", json={"worker": "odd", "key": str(key.public)}).json()
        assert lease["run"] == run.id
        said = {
            "fence": lease["fence"],
            "verdict": "inconclusive",
            "verifier": "t",
            "dtype": "f32",
            "suite_digest": lease["suite_digest"],
            "seed": 1,
            "base_evidence": "exact",
            "environment": {"a": "b"},
            "sandbox": "",
            "checks": [{"name": "x", "verdict": "warn", "value": "@"}],
        }
        body = sign_text(lease, said, key, instead=('"@"', value))
        answer = http.post(f"/runs/{lease['run']}:complete", json=body)
        assert answer.status_code in {200, 422}, (value, answer.text)
        if answer.status_code == 422:
            client._api.send("POST", f"/runs/{lease['run']}:cancel")
