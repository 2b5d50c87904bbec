"""Default deny: every route against every kind of token, held against a table that is checked in.

`authz_matrix.json` says for each route which scopes open it; `any` token at all, or `nobody` needs
one. A route without a row fails, and so does a row without a route.
"""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.db.sql.clock import now_us
from deltareg.service.access.tokens import hash_secret, mint_secret
from deltareg.wire import API
from tests.api.world import routes
from tests.fixtures.registries import SCOPES
from tests.signers import enrol_named, key_of

MATRIX = json.loads(Path(__file__).with_name("authz_matrix.json").read_text())
NAMES = {
    "operation": "collect",
    "ns": "team",
    "name": "lora",
    "version": "1",
    "channel": "prod",
    "base": "tinyllama",
    "digest": f"sha256:{'0' * 64}",
    "upload_id": "u",
    "run_id": "r",
    "verdict_id": "v",
    "token_id": "999999",
    "number": "0",
    "suite": "smoke",
    "check": "effect",
    "session_id": "999999",
    "identity_id": "999999",
    "check_id": "00000000-0000-4000-8000-000000000000",
    "request_id": "999999",
    "member_id": "999999",
    "principal": "maker",
    "keyid": "k",
    "webhook_id": "wh_9",
    "trust_id": "999999",
}
QUERIES = {
    "GET /api/v1/bundle": {"ref": "team/lora"},
    "GET /api/v1/resolve": {"ref": "team/lora"},
    "GET /api/v1/blobs/{digest}": {"of": "team/lora"},
    "GET /api/v1/deltas/{ns}/{name}/versions/{version}/gate": {"channel": "prod"},
    "GET /api/v1/deltas/{ns}/{name}/versions/{version}/fit": {"base": "tinyllama"},
    "GET /api/v1/bases/{base}/diff": {"other": "tinyllama"},
    "GET /api/v1/comparisons": {"a": "team/lora", "b": "team/lora"},
    "GET /api/v1/audit/consistency": {"old": "0", "new": "0"},
    "GET /api/v1/events/stream": {"seconds": "0"},
    "DELETE /api/v1/deltas/{ns}/{name}/channels/{channel}/quarantine/{version}": {"reason": "x"},
    "GET /api/v1/access/explain": {"principal": "maker", "action": "read", "ref": "team"},
}
REPORT = {
    "fence": 1,
    "verdict": "fail",
    "verifier": "t",
    "suite_digest": "s",
    "dtype": "f",
    "seed": 1,
    "base_evidence": "exact",
    "checks": [],
    "environment": {},
}
BODIES: dict[str, dict[str, object]] = {
    "POST /api/v1/tokens": {"principal": "eve"},
    "POST /api/v1/tokens:renew": {},
    "POST /api/v1/principals/{principal}:give": {"to": "bob"},
    "POST /api/v1/namespace-requests/{request_id}:grant": {},
    "POST /api/v1/namespace-requests/{request_id}:refuse": {"reason": "x"},
    "POST /api/v1/sign-in/devices": {"machine": "x"},
    "POST /api/v1/sign-in/devices:fetch": {"secret": "x"},
    "POST /api/v1/identities/{identity_id}:link": {"principal": "eve"},
    "POST /api/v1/bases/{base}:rename": {"name": "tiny"},
    "POST /api/v1/bases/{base}/figures": {"envelope": "{}"},
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}/as-base/figures": {"envelope": "{}"},
    "POST /api/v1/namespaces": {"name": "team"},
    "PUT /api/v1/quota": {"limits": {}},
    "PATCH /api/v1/operations/{operation}": {"paused": True},
    "PUT /api/v1/namespaces/{ns}/retention": {"rules": []},
    "PUT /api/v1/deltas/{ns}/{name}/retention": {"rules": []},
    "PUT /api/v1/namespaces/{ns}/quota": {"limits": {}},
    "PUT /api/v1/principals/{principal}/quota": {"limits": {}},
    "PUT /api/v1/policy": {"policy": {}, "reason": "x"},
    "PUT /api/v1/namespaces/{ns}/policy": {"policy": {}, "reason": "x"},
    "PATCH /api/v1/namespaces/{ns}": {"visibility": "internal"},
    "PATCH /api/v1/deltas/{ns}/{name}/versions/{version}": {"labels": {"tested": "yes"}},
    "POST /api/v1/members": {"principal": "only-read", "role": "reader", "namespace": "team"},
    "POST /api/v1/groups": {"name": "a-group"},
    "POST /api/v1/groups/{name}/members": {"principal": "only-read"},
    "POST /api/v1/roles": {"name": "releaser", "namespace": "team", "rights": ["promote"]},
    "POST /api/v1/access:apply": {"document": {"everywhere": {}}, "dry_run": True},
    "POST /api/v1/uploads": {"subject": "delta", "target": "team/lora", "manifest": "{}"},
    "POST /api/v1/uploads/{upload_id}:complete": {"storage_map": "{}"},
    "POST /api/v1/uploads/{upload_id}:complete-base": {"storage_map": "{}"},
    "POST /api/v1/keys": {"name": "eve-worker", "key": f"ed25519:{'0' * 64}"},
    "POST /api/v1/keys/{keyid}:revoke": {"reason": "x"},
    "POST /api/v1/suites": {"document": "name: mine\nchecks: [effect]"},
    "POST /api/v1/runs": {"ref": "team/lora"},
    "POST /api/v1/verdicts/{verdict_id}/waivers": {"check": "effect", "reason": "x"},
    "PUT /api/v1/deltas/{ns}/{name}/channels/{channel}/policy": {"policy": {}},
    "POST /api/v1/runs/{run_id}:complete": REPORT,
    "POST /api/v1/runs/{run_id}:prove": {"fence": 1, "storage_revision": 1, "pieces": 1},
    "POST /api/v1/runs/{run_id}:upload": {"run": "r", "fence": 1},
    "POST /api/v1/runs/{run_id}:replace": {"fence": 1, "upload": "u", "storage_map": "{}"},
    "POST /api/v1/comparisons": {"a": "team/lora:v1", "b": "team/lora:v1"},
    "POST /api/v1/answers": {"prompt": "hi", "refs": ["team/lora"]},
    "POST /api/v1/runs/{run_id}:found": {"fence": 1, "found": "{}"},
    "POST /api/v1/runs/{run_id}:fail": {"fence": 1, "error": "x"},
    "POST /api/v1/runs/{run_id}/log": {"fence": 1, "first": 0, "lines": [{"text": "x"}]},
    "PATCH /api/v1/leases": {"run": "r", "fence": 1},
    "PUT /api/v1/fleet/agents/{agent}": {"engine": "dir", "every_s": 10, "serves": []},
    "POST /api/v1/deltas/{ns}/{name}/channels/{channel}/revisions": {"kind": "rollback"},
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}:revoke": {"reason": "x"},
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}:unrevoke": {"reason": "x"},
}
BODIES |= {
    "POST /api/v1/deltas/{ns}/{name}:rename": {"to": "team/lora"},
    "POST /api/v1/deltas/{ns}/{name}/channels/{channel}:rename": {"to": "prod"},
    "POST /api/v1/namespaces/{ns}:rename": {"to": "team"},
    "POST /api/v1/deltas/{ns}/{name}:deprecate": {"reason": "x"},
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}:deprecate": {"reason": "x"},
    "POST /api/v1/webhooks": {"url": "http://10.0.0.1/"},
    "POST /api/v1/trusts": {
        "provider": "github",
        "audience": "https://registry.example",
        "namespace": "team",
        "scopes": ["push"],
        "source_id": "74",
        "owner_id": "65",
    },
    "POST /api/v1/webhooks/{webhook_id}:redeliver": {"dead": True},
    "POST /api/v1/webhooks/{webhook_id}:rotate": {},
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}/referrers": {"form": "signature", "body": "{}"},
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}/evaluations": {"body": "{}"},
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}/evaluations/{digest}:withdraw": {"reason": "x"},
    "POST /api/v1/signers/{keyid}:revoke": {"reason": "x"},
    "POST /api/v1/requests/{request_id}:approve": {},
    "POST /api/v1/fsck/checks": {},
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}:revert": {},
    "POST /api/v1/requests/{request_id}:reject": {"reason": "x"},
    "POST /api/v1/deltas/{ns}/{name}/channels/{channel}/revisions/{number}:review": {"message": "x"},
}
HEADERS = {
    "PUT /api/v1/policy": {"If-Match": '"x"'},
    "PUT /api/v1/namespaces/{ns}/policy": {"If-Match": '"x"'},
    "PUT /api/v1/deltas/{ns}/{name}/channels/{channel}/policy": {"If-Match": '"x"'},
    "PUT /api/v1/uploads/{upload_id}/packs/{number}": {"X-Content-Digest": f"sha256:{'0' * 64}"},
    "POST /api/v1/deltas/{ns}/{name}/channels/{channel}/revisions": {"If-Match": '"r9999"'},
}


def ask(http, route, *, worker="authz"):
    method, _, path = route.partition(" ")
    is_lease = path.endswith("/leases") and method == "POST"
    key = str(key_of(f"only-{worker}").public)
    body = {"worker": worker, "key": key} if is_lease else None
    return http.request(
        method,
        path.format(**NAMES, agent=worker),
        params=QUERIES.get(route),
        json=body or BODIES.get(route),
        headers=HEADERS.get(route),
    )


@pytest.fixture(scope="module")
def tokens(shared_registry):
    """Make a token of each scope, and the kinds that are nobody's."""
    made = {scope: shared_registry.token(scope, principal=f"only-{scope}") for scope in SCOPES}
    for scope in SCOPES:
        enrol_named(shared_registry.registry.engine, f"only-{scope}")
    with shared_registry.client() as admin:
        revoked = shared_registry.token(*SCOPES, principal="gone")
        (found,) = [row for row in admin.tokens.list(limit=200).items if row.principal == "gone"]
        admin.tokens.revoke(found.id)
    expired = shared_registry.token(*SCOPES, principal="late")
    with write(shared_registry.registry.engine) as conn:
        late = sa.update(t.tokens).where(t.tokens.c.token_hash == hash_secret(expired))
        conn.execute(late.values(expires_at=now_us() - 1_000))
    bad = {
        "none": None,
        "garbage": "not-a-token",
        "well-formed": mint_secret("pat"),
        "revoked": revoked,
        "expired": expired,
        "other check digits": made["admin"][:-1] + ("0" if made["admin"][-1] != "0" else "1"),
    }
    return made, bad


@pytest.fixture(scope="module")
def http(shared_registry):
    """Give a plain client of the server's root that has no token of its own."""
    client = shared_registry.http()
    client.base_url = shared_registry.url
    return client


def test_every_route_has_a_row_and_every_row_a_route():
    assert sorted(MATRIX) == routes()


@pytest.mark.parametrize("route", [route for route in MATRIX if MATRIX[route] != ["nobody"]])
def test_nobody_gets_in_without_a_live_token(http, tokens, route):
    _, bad = tokens

    for what, token in bad.items():
        http.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = ask(http, route)
        assert answer.status_code == 401, what
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("route", sorted(MATRIX))
def test_each_scope_opens_what_the_table_says(http, tokens, route):
    made, _ = tokens
    wrong = {}

    for scope in SCOPES:
        http.headers = {"Authorization": f"Bearer {made[scope]}"}
        answer = ask(http, route, worker=scope)
        is_open = scope == "admin" or {"any", "nobody", scope} & set(MATRIX[route])
        if not (is_right_for_open if is_open else is_forbidden)(answer):
            wrong[scope] = (answer.status_code, answer.text)

    assert wrong == {}


def is_right_for_open(answer):
    return answer.status_code not in {401, 403} and answer.status_code < 500


def is_forbidden(answer):
    return answer.status_code == 403 and answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YTpi", "bearer\tx", "Token drg_pat_x"])
def test_other_ways_to_say_who_one_is_are_no_way(http, header):
    http.headers = {"Authorization": header}

    assert http.get(f"{API}/whoami").status_code == 401


def test_a_token_in_the_query_or_a_cookie_opens_nothing(shared_registry):
    token = shared_registry.token("read")
    http = shared_registry.http()
    http.cookies.set("token", token)

    answer = http.get("/deltas", params={"token": token, "access_token": token})

    assert answer.status_code == 401
