"""Hostile text in every place that takes text: refused or not found, and no fault of the server."""

import json

import pytest
from fastapi.routing import iter_route_contexts

from tests.api.test_authz import BODIES, HEADERS, QUERIES
from tests.api.test_authz import NAMES as PLACES
from tests.fixtures.registries import SCOPES

NAMES = PLACES | {"agent": "host-1"}
RAW = [
    "a%00b", "..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cwindows", "%252e%252e%252f",
    "%ff%fe", "%F0%9F%98%80", "'%20OR%20'1'='1", "%0d%0aSet-Cookie:%20a=b", "A" * 5000, "-1",
    "9" * 30, "1e400", "NaN", "a/b@prod%2399999999999", "%D9%A3",
]  # fmt: skip
TEXTS = ["", "\0", "a\0b", "\ud800", "a" * 100_000, "../../etc/passwd", "\u202e", "{}", "[", "٣"]
TAKEN_HEADERS = [
    "Idempotency-Key", "If-Match", "If-None-Match", "Range", "X-Content-Digest", "X-Request-Id",
    "Content-Type", "Origin", "Accept", "traceparent",
]  # fmt: skip
VALUES = [
    *TEXTS, None, True, -1, 2**31, 2**63, 10**400, 1e308, [], {}, {"a": {"b": "\0"}},
    {"\0": "x"}, {"\ud800": "x"}, ["\0"], float("nan"),
]  # fmt: skip


def described(app):
    """Give each route with the names of the parameters in its path and its query."""
    document = app.openapi()["paths"]
    for route in iter_route_contexts(app.routes):
        for method in sorted(set(route.methods or ()) - {"HEAD"}):
            operation = document.get(route.path, {}).get(method.lower(), {})
            parameters = operation.get("parameters", [])
            yield (
                f"{method} {route.path}",
                {
                    place: [p["name"] for p in parameters if p["in"] == place]
                    for place in ("path", "query")
                },
            )


def fits(answer):
    """Tell whether an answer is one of those that hostile input may get."""
    return answer.status_code < 500 and "root:" not in answer.text


def test_text_in_paths_and_queries(registry_server):
    registry_server.line("lora")
    http = registry_server.http(registry_server.token(*SCOPES))
    wrong = []

    for route, names in described(registry_server.app):
        method, _, path = route.partition(" ")
        if "{" not in path and not names["query"]:
            continue
        for raw in RAW:
            for name in names["path"]:
                url = registry_server.url + path.format(**NAMES | {name: raw})
                answer = http.request(
                    method, url, params=QUERIES.get(route), json=BODIES.get(route),
                    headers=HEADERS.get(route),
                )  # fmt: skip
                wrong += [] if fits(answer) else [(route, name, raw, answer.status_code)]
            for name in names["query"]:
                query = "&".join(
                    f"{k}={v}" for k, v in (QUERIES.get(route, {}) | {name: raw}).items()
                )
                url = f"{registry_server.url}{path.format(**NAMES)}?{query}"
                answer = http.request(
                    method, url, json=BODIES.get(route), headers=HEADERS.get(route)
                )
                wrong += [] if fits(answer) else [(route, name, raw, answer.status_code)]

    assert wrong == []


def test_values_in_bodies(registry_server):
    registry_server.line("lora")
    http = registry_server.http(registry_server.token(*SCOPES))
    wrong = []

    for route, body in sample_bodies().items():
        method, _, path = route.partition(" ")
        for field in [*body, "unknown", "\ud800", "\0"]:
            for value in VALUES:
                sent = json.dumps(body | {field: value}).encode()
                answer = http.request(
                    method, registry_server.url + path.format(**NAMES), content=sent,
                    headers={"Content-Type": "application/json"} | HEADERS.get(route, {}),
                )  # fmt: skip
                if not fits(answer):
                    wrong.append((route, field, repr(value)[:40], answer.status_code))

    assert wrong == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000,
     b"NaN", b'{"ref": NaN}'],
)  # fmt: skip
def test_bodies_that_are_no_object(shared_registry, body):
    http = shared_registry.http(shared_registry.token(*SCOPES))

    for path in ("/runs", "/tokens", "/uploads", "/leases", "/uploads/u:complete"):
        answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in {200, 400, 422}, (path, answer.text)


def test_headers(shared_registry):
    http = shared_registry.http(shared_registry.token(*SCOPES))

    for value in (
        b"\xff",
        b"a" * 8000,
        b"'",
        b"\xc3\xa9",
        b"%00",
        b"../..",
        b"bytes=" + b"0-1," * 900,
    ):
        for name in TAKEN_HEADERS:
            for method, path in (
                ("GET", "/deltas/team/lora/channels/prod"),
                ("POST", "/runs"),
                ("PUT", "/uploads/u/packs/0"),
            ):
                answer = http.request(
                    method, path, content=b'{"ref":"team/lora"}', headers={name: value}
                )
                assert answer.status_code < 500, (name, value, path)


def sample_bodies():
    """Give the bodies of all routes, with the optional fields that the table leaves out."""
    more: dict[str, dict[str, object]] = {
        "POST /api/v1/tokens": {"kind": "pat", "scopes": ["read"], "expires_in_s": 60, "note": "n"},
        "POST /api/v1/uploads": {
            "message": "m", "semver": "1.0.0", "labels": {}, "location": "l",
            "register_only": False,
        },
        "POST /api/v1/runs": {"what": "verify", "suite": "smoke", "again": False, "labels": {}},
        "POST /api/v1/leases": {"worker": "w", "labels": {}, "wait_s": 0},
        "POST /api/v1/runs/{run_id}:complete": {"sandbox": "none"},
        "POST /api/v1/deltas/{ns}/{name}/channels/{channel}/revisions": {
            "version": 1, "revision": 1, "steps": 1, "reason": "r", "dry_run": True,
        },
    }  # fmt: skip
    return {route: BODIES.get(route, {}) | more.get(route, {}) for route in {**BODIES, **more}}


def test_a_report_full_of_oddities_is_kept_or_refused(registry_server):
    """Numbers that JSON may hold and databases may not, in the checks of a live run."""
    client = registry_server.line("lora")
    http = registry_server.http(registry_server.token(*SCOPES, principal="worker", kind="wrk"))

    for value in (
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "1" * 400,
        '"\\u0000"',
        '"\\ud800"',
        "1e-400",
    ):
        run = client.verify("team/lora", again=True)
        lease = http.post("/leases", json={"worker": "odd"}).json()
        assert lease["run"] == run.id
        body = json.dumps(
            {
                "fence": lease["fence"], "verdict": "inconclusive", "verifier": "t", "dtype": "f32",
                "suite_digest": lease["suite_digest"], "seed": 1, "base_evidence": "exact",
                "environment": {"a": "b"},
                "checks": [{"name": "x", "verdict": "warn", "value": "@"}],
            }
        ).replace('"@"', value)  # fmt: skip
        answer = http.post(
            f"/runs/{lease['run']}:complete",
            content=body,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in {200, 422}, (value, answer.text)
        if answer.status_code == 422:
            client._api.send("POST", f"/runs/{lease['run']}:cancel")
