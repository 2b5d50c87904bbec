"""The operations: for each route that changes something, a request that succeeds from the beginning.

Most are recorded from the real client, which sends what they need before (an upload, its packs) for
real. The rest is written as it crosses HTTP. A route without a maker fails a test.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from deltareg.errors import DeltaregError
from deltareg.signing.keys import SigningKey
from deltareg.wire import API, LeaseRequest, RunCreate, TokenCreate, request_of
from tests.fixtures.registries import SAMPLES, SCOPES, report
from tests.pairs.recording import recording
from tests.proving import look, prove_all

DELTAS = SAMPLES / "deltas" / "tinyllama"
PLAIN = [scope for scope in SCOPES if scope != "break-glass"]


@dataclass(frozen=True)
class Operation:
    """A request that changes something.

    Attributes:
        name: A short name, which a replay line has.
        route: The route that it is of, as `METHOD /path/{name}`.
        method: Its method.
        path: Its path, with the query.
        headers: Its headers, the token among them.
        body: Its body.
    """

    name: str
    route: str
    method: str
    path: str
    headers: tuple
    body: bytes = b""


SIGN_IN = "needs a provider that people sign in with"
SIGNED = "needs a document that is signed outside"
UNEXPLORED = {
    "DELETE /api/v1/sessions/{session_id}": "needs a browser's session",
    "DELETE /api/v1/verdicts/{verdict_id}/waivers/{check}": "needs a waiver",
    "DELETE /api/v1/worker-trusts/{trust_id}": "needs a cluster that issues tokens",
    "POST /api/v1/answers": "needs a worker that answers",
    "POST /api/v1/bases/{base}/figures": SIGNED,
    "POST /api/v1/deltas/{ns}/{name}/channels/{channel}/revisions/{number}:review": "needs broken glass",
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}/as-base/figures": SIGNED,
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}/evaluations": SIGNED,
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}/evaluations/{digest}:withdraw": SIGNED,
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}/referrers": SIGNED,
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}:revert": "needs a version that was encoded anew",
    "POST /api/v1/identities/{identity_id}:link": SIGN_IN,
    "POST /api/v1/namespace-requests/{request_id}:grant": "needs a server whose namespaces are asked for",
    "POST /api/v1/namespace-requests/{request_id}:refuse": "needs a server whose namespaces are asked for",
    "POST /api/v1/runs/{run_id}:found": "needs a worker that compares",
    "POST /api/v1/runs/{run_id}:replace": "needs a worker that encodes anew",
    "POST /api/v1/runs/{run_id}:upload": "needs a worker that encodes anew",
    "POST /api/v1/sign-in/devices": SIGN_IN,
    "POST /api/v1/sign-in/devices:fetch": SIGN_IN,
    "POST /api/v1/sign-in:end": SIGN_IN,
    "POST /api/v1/tokens:exchange": "needs an issuer of assertions",
    "POST /api/v1/verdicts/{verdict_id}/continuations": "needs a verdict of many rows",
    "POST /api/v1/verdicts/{verdict_id}/waivers": "needs a verdict that others may answer for",
    "POST /api/v1/worker-trusts": "needs a cluster that issues tokens",
    "POST /api/v1/workers:enrol": "needs a cluster that issues tokens",
}
"""Routes that are not explored yet, and why; whoever makes one takes it out."""


class Makers:
    """Everybody who asks, and what there is to ask about."""

    def __init__(self, server):
        self.server = server
        self.found: dict[str, Operation] = {}
        self.line = server.line("lora", "lora_v2")
        self.admin = server._client(server.admin_token, ("admin", "break-glass"), "admin", "pat")
        self.tokens = {"admin": server.admin_token, "maker": self.line.config.token}

    def person(self, name, *scopes, everywhere=False, **fields):
        """Make a token of somebody; with no role of their own."""
        request = request_of(TokenCreate, principal=name, scopes=list(scopes or PLAIN), everywhere=everywhere, **fields)
        self.tokens[name] = self.admin.tokens.create(request).token
        return self.server._client(self.tokens[name], scopes or PLAIN, name, "pat")

    def ask(self, name, route, path=None, *, by="admin", body=None, raw=None, **headers):
        """Add an operation as it crosses HTTP."""
        method, _, pattern = route.partition(" ")
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        if body is not None:
            named["Content-Type"] = "application/json"
        named["Authorization"] = f"Bearer {self.tokens[by]}"
        self.found[name] = Operation(
            name, f"{method} {API}{pattern}", method, API + (path or pattern), tuple(named.items()), data
        )

    def record(self, name, route, act, *, until=""):
        """Add the first request of an act of the real client that changes something and ends with `until`."""
        with recording(until=until) as held:
            act()
        (request,) = held
        method, _, pattern = route.partition(" ")
        path = request.url.raw_path.decode()
        dropped = {"host", "content-length", "transfer-encoding", "idempotency-key", "accept-encoding", "connection"}
        headers = tuple((key, value) for key, value in request.headers.items() if key.lower() not in dropped)
        self.found[name] = Operation(name, f"{method} {API}{pattern}", request.method, path, headers, request.content)


def build(server):
    """Make a registry with one of everything, and the operations; give them by name."""
    m = Makers(server)
    line, admin = m.line, m.admin
    worker = server.client(("read", "verify"), principal="worker", kind="wrk")
    prover = server.client(("read", "verify"), principal="prover", kind="wrk")
    prove_all(prover)
    admin.namespaces.create("crew")
    admin.namespaces.create("spare")
    line.versions.push(DELTAS / "lora", "team/near", base="tinyllama", golden=False)  # of the same packs
    line.versions.push(DELTAS / "lora_qv", "team/lora", base="tinyllama", golden=False)
    line.versions.push(DELTAS / "lora_v2", "team/lone", base="tinyllama", golden=False)
    line.versions.push(DELTAS / "lora", "team/old", base="tinyllama", golden=False)
    prove_all(prover)
    m.ben, m.eve = m.person("ben"), m.person("eve")
    m.cy = m.person("cy", "read", "push")
    admin.members.add("ben", "owner", namespace="team")
    admin.members.add("ben", "owner", namespace="crew")
    _access(m)
    _names(m)
    _storage(m)
    _runs(m, worker, prover)
    _channels(m)
    _requests(m)
    _pushes(m)
    return m.found


def _access(m):
    admin = m.admin
    admin.groups.set("crowd")
    admin.groups.join("crowd", "eve")
    admin.access.set_role("tester", ["push"], namespace="team")
    member = admin.members.add("eve", "pusher", namespace="team")
    token = admin.tokens.create(request_of(TokenCreate, principal="eve", scopes=["read"], everywhere=False))
    m.person("robot", "read", kind="ci", acts_for="eve")
    m.ask("token", "POST /tokens", body={"principal": "fay", "scopes": ["read"], "namespaces": ["team"]})
    m.ask("token-revoke", "POST /tokens/{token_id}:revoke", f"/tokens/{token.id}:revoke")
    m.ask("token-renew", "POST /tokens:renew", by="eve", body={})
    m.ask("session", "POST /sessions", by="eve")
    m.ask("disable", "POST /principals/{principal}:disable", "/principals/eve:disable")
    m.ask("give", "POST /principals/{principal}:give", "/principals/robot:give", body={"to": "ben"})
    m.ask("member", "POST /members", by="ben", body={"principal": "cy", "role": "pusher", "namespace": "team"})
    m.ask("member-end", "DELETE /members/{member_id}", f"/members/{member.id}", by="ben")
    owner = next(one for one in admin.members.list("crew").items if one.principal == "ben")
    m.ask("owner-end", "DELETE /members/{member_id}", f"/members/{owner.id}", by="ben")
    m.ask("group", "POST /groups", body={"name": "friends"})
    m.ask("group-remove", "DELETE /groups/{name}", "/groups/crowd")
    m.ask("group-join", "POST /groups/{name}/members", "/groups/crowd/members", body={"principal": "cy"})
    m.ask("group-leave", "DELETE /groups/{name}/members/{principal}", "/groups/crowd/members/eve")
    m.ask("role", "POST /roles", by="ben", body={"name": "releaser", "namespace": "team", "rights": ["promote"]})
    m.ask("role-remove", "DELETE /roles/{name}", "/roles/tester?namespace=team", by="ben")
    document = admin.access.export().model_dump(mode="json")
    m.ask("apply", "POST /access:apply", body={"document": document, "dry_run": False})
    key = str(SigningKey.of_seed(sha256(b"new").digest()).public)
    m.ask("key", "POST /keys", body={"name": "new-worker", "key": key})
    keys = [one for one in admin.keys.list().items if one.name == "worker"]
    m.ask("key-revoke", "POST /keys/{keyid}:revoke", f"/keys/{keys[0].keyid}:revoke", body={"reason": "x"})
    trust = {
        "provider": "github", "audience": "https://registry.example", "namespace": "team",
        "scopes": ["push"], "source_id": "74", "owner_id": "65",
    }  # fmt: skip
    m.ask("trust", "POST /trusts", by="ben", body=trust)
    other = trust | {"namespace": "crew"}
    made = m.server.http(m.tokens["ben"]).post("/trusts", json=other).json()
    m.ask("trust-end", "DELETE /trusts/{trust_id}", f"/trusts/{made['id']}", by="ben")
    m.person("gone")
    admin.principals.disable("gone")
    m.ask("enable", "POST /principals/{principal}:enable", "/principals/gone:enable")
    hook = admin.webhooks.add("http://127.0.0.1:9/", namespace="team")
    m.ask("webhook", "POST /webhooks", by="ben", body={"url": "http://127.0.0.1:9/x", "namespace": "team"})
    m.ask("webhook-remove", "DELETE /webhooks/{webhook_id}", f"/webhooks/{hook.webhook.id}", by="ben")
    m.ask(
        "webhook-rotate", "POST /webhooks/{webhook_id}:rotate", f"/webhooks/{hook.webhook.id}:rotate", by="ben", body={}
    )
    m.ask("webhook-test", "POST /webhooks/{webhook_id}:test", f"/webhooks/{hook.webhook.id}:test", by="ben")
    m.ask(
        "webhook-redeliver",
        "POST /webhooks/{webhook_id}:redeliver",
        f"/webhooks/{hook.webhook.id}:redeliver",
        by="ben",
        body={"dead": True},
    )
    m.ask("signer-revoke", "POST /signers/{keyid}:revoke", f"/signers/{'a' * 64}:revoke", body={"reason": "x"})


def _names(m):
    line = m.line
    line.versions.push(DELTAS / "lora_qv", "team/gone", base="tinyllama", golden=False)
    m.admin.lines.delete("team/gone")
    m.ask("line-restore", "POST /deltas/{ns}/{name}:restore", "/deltas/team/gone:restore", by="ben")
    line.versions.push(DELTAS / "lora", "team/bad", base="tinyllama", golden=False)
    line.versions.revoke("team/bad:v1", reason="x")
    m.ask(
        "unrevoke",
        "POST /deltas/{ns}/{name}/versions/{version}:unrevoke",
        "/deltas/team/bad/versions/1:unrevoke",
        by="ben",
        body={"reason": "x"},
    )
    line.versions.push(DELTAS / "lora", "team/before", base="tinyllama", golden=False)
    m.admin.lines.rename("team/before", "team/after")
    m.ask("name-free", "DELETE /deltas/{ns}/{name}/name", "/deltas/team/before/name", by="ben")
    m.ask(
        "flatten",
        "POST /deltas/{ns}/{name}/versions/{version}:flatten",
        "/deltas/team/lora/versions/2:flatten",
        by="ben",
    )
    m.ask("base-delete", "DELETE /bases/{base}", "/bases/unused")
    m.ask("namespace", "POST /namespaces", by="eve", body={"name": "fresh"})
    m.ask("namespace-hide", "PATCH /namespaces/{ns}", "/namespaces/team", by="ben", body={"visibility": "private"})
    m.ask("namespace-rename", "POST /namespaces/{ns}:rename", "/namespaces/team:rename", by="ben", body={"to": "squad"})
    m.ask("move", "POST /deltas/{ns}/{name}:rename", "/deltas/team/lora:rename", by="ben", body={"to": "crew/lora"})
    m.ask(
        "move-near", "POST /deltas/{ns}/{name}:rename", "/deltas/team/near:rename", by="ben", body={"to": "crew/near"}
    )
    m.ask("rename", "POST /deltas/{ns}/{name}:rename", "/deltas/team/lora:rename", by="ben", body={"to": "team/style"})
    m.ask(
        "deprecate-line",
        "POST /deltas/{ns}/{name}:deprecate",
        "/deltas/team/lora:deprecate",
        by="ben",
        body={"reason": "x"},
    )
    m.ask("line-delete", "DELETE /deltas/{ns}/{name}", "/deltas/team/near", by="ben")
    m.admin.bases.register(SAMPLES / "bases" / "tinyllama_other", "unused")
    m.ask("base-rename", "POST /bases/{base}:rename", "/bases/tinyllama:rename", body={"name": "small"})
    m.ask("version-delete", "DELETE /deltas/{ns}/{name}/versions/{version}", "/deltas/team/near/versions/1", by="ben")
    m.line.versions.delete("team/old:v1")
    m.ask(
        "version-restore",
        "POST /deltas/{ns}/{name}/versions/{version}:restore",
        "/deltas/team/old/versions/1:restore",
        by="ben",
    )
    m.ask(
        "version-label",
        "PATCH /deltas/{ns}/{name}/versions/{version}",
        "/deltas/team/lora/versions/1",
        by="ben",
        body={"labels": {"a": "b"}},
    )
    m.ask(
        "version-semver",
        "PATCH /deltas/{ns}/{name}/versions/{version}",
        "/deltas/team/lora/versions/2",
        by="ben",
        body={"semver": "1.0.0"},
    )
    m.ask(
        "deprecate",
        "POST /deltas/{ns}/{name}/versions/{version}:deprecate",
        "/deltas/team/lora/versions/1:deprecate",
        by="ben",
        body={"reason": "x"},
    )
    m.ask(
        "revoke",
        "POST /deltas/{ns}/{name}/versions/{version}:revoke",
        "/deltas/team/near/versions/1:revoke",
        by="ben",
        body={"reason": "x"},
    )


def _storage(m):
    m.ask("collect", "POST /gc/runs", "/gc/runs?grace_s=0&keep_forms_s=0")
    m.ask("fsck", "POST /fsck", "/fsck?read_data=true&repair=true")
    m.ask("quota", "PUT /namespaces/{ns}/quota", "/namespaces/crew/quota", body={"limits": {"bytes": 10_000_000}})
    m.ask("quota-lines", "PUT /namespaces/{ns}/quota", "/namespaces/crew/quota", body={"limits": {"versions": 50}})
    m.ask(
        "quota-person",
        "PUT /principals/{principal}/quota",
        "/principals/ben/quota",
        body={"limits": {"bytes": 90_000_000}},
    )
    m.ask("quota-all", "PUT /quota", "/quota", body={"limits": {"lines": 500}})
    rules = {"rules": [{"kind": "last", "last": 1}]}
    m.ask("retention", "PUT /namespaces/{ns}/retention", "/namespaces/team/retention", by="ben", body=rules)
    m.ask("retention-line", "PUT /deltas/{ns}/{name}/retention", "/deltas/team/lora/retention", by="ben", body=rules)
    m.ask("operation", "PATCH /operations/{operation}", "/operations/collect", body={"paused": True})

    m.ask("check-pieces", "POST /fsck/checks", body={})


def _runs(m, worker, prover):
    line = m.line
    ended = next(run for run in line.runs.list(state="done").items if run.what == "verify")
    m.ask("rerun", "POST /runs/{run_id}:rerun", f"/runs/{ended.id}:rerun", by="ben")
    m.ask("verify", "POST /runs", "/runs", by="ben", body={"ref": "team/lora:v1", "again": True})
    m.ask("compare", "POST /comparisons", "/comparisons", by="ben", body={"a": "team/lora:v1", "b": "team/lora:v2"})
    queued = line.runs.create(RunCreate(ref="team/lora:v2", again=True))
    m.ask("cancel", "POST /runs/{run_id}:cancel", f"/runs/{queued.id}:cancel", by="ben")
    other = line.runs.create(RunCreate(ref="team/lora:v1", again=True))
    grant = worker.lease(LeaseRequest(worker="worker", run=other.id))
    assert grant is not None
    failed = report(grant, verdict="fail")
    m.record("complete", "POST /runs/{run_id}:complete", lambda: worker.complete_run(grant.run, failed))
    failure = {"fence": grant.fence, "error": "x"}
    m.tokens["worker"] = worker.config.token
    m.ask("fail", "POST /runs/{run_id}:fail", f"/runs/{grant.run}:fail", by="worker", body=failure)
    lines = {"fence": grant.fence, "first": 0, "lines": [{"text": "x"}]}
    m.ask("log", "POST /runs/{run_id}/log", f"/runs/{grant.run}/log", by="worker", body=lines)
    m.ask("lease-hold", "PATCH /leases", by="worker", body={"run": grant.run, "fence": grant.fence})
    m.ask("cancel-running", "POST /runs/{run_id}:cancel", f"/runs/{other.id}:cancel", by="ben")
    m.record("lease", "POST /leases", lambda: worker.lease(LeaseRequest(worker="worker")))
    document = "name: mine\nchecks: [effect]"
    m.ask("suite", "POST /suites", "/suites", body={"document": document})

    proof = prover.lease(LeaseRequest(worker="prover", what=["prove"]))
    assert proof is not None
    seen = look(prover, proof)
    m.record("prove", "POST /runs/{run_id}:prove", lambda: prover.complete_proof(proof.run, seen))


def _requests(m):
    line, path = m.line, "/requests/{request_id}"
    m.server.verified("team/lone:v1")
    line.channels.set_policy("team/lone", "prod", {"approvals": 1}, reason="x")
    with suppress(DeltaregError):
        line.promote("team/lone:v1", "prod", reason="asked for")
    (asked,) = line.requests.list().items
    m.ask("approve", f"POST {path}:approve", f"/requests/{asked.id}:approve", by="ben", body={})
    m.ask("reject", f"POST {path}:reject", f"/requests/{asked.id}:reject", by="ben", body={"reason": "x"})
    m.ask("withdraw", f"POST {path}:withdraw", f"/requests/{asked.id}:withdraw", by="maker")


def _channels(m):
    line = m.line
    path = "/deltas/{ns}/{name}/channels/{channel}"
    line.rollback("team/lora", "prod", reason="to have one in quarantine")
    line.channels.clear_quarantine("team/lora", "prod", 2, reason="to promote it again")
    line.promote("team/lora:v2", "prod")
    line.promote("team/lora:v1", "dev")
    line.promote("team/lora:v2", "dev")
    line.rollback("team/lora", "dev", reason="to have one in quarantine")
    m.record("promote", f"POST {path}/revisions", lambda: line.promote("team/lora:v1", "staging"))
    m.record("promote-back", f"POST {path}/revisions", lambda: line.promote("team/lora:v1", "prod"))
    m.record("rollback", f"POST {path}/revisions", lambda: line.rollback("team/lora", "prod", reason="x"))
    m.record("freeze", f"POST {path}/revisions", lambda: line.channels.freeze("team/lora", "prod", reason="x"))
    m.ask("channel", f"PUT {path}", "/deltas/team/lora/channels/eu", by="ben")
    m.ask(
        "channel-rename", f"POST {path}:rename", "/deltas/team/lora/channels/prod:rename", by="ben", body={"to": "live"}
    )
    line.channels.create("team/lora", "unused")
    m.ask("channel-delete", f"DELETE {path}", "/deltas/team/lora/channels/unused", by="ben")
    m.record(
        "policy",
        f"PUT {path}/policy",
        lambda: line.channels.set_policy("team/lora", "prod", {"approvals": 1}, reason="x"),
    )
    m.record(
        "policy-other",
        f"PUT {path}/policy",
        lambda: line.channels.set_policy("team/lora", "prod", {"approvals": 2}, reason="y"),
    )
    admin = m.admin
    m.record(
        "floor", "PUT /namespaces/{ns}/policy", lambda: admin.floors.set({"approvals": 1}, namespace="crew", reason="x")
    )
    m.record(
        "floor-other",
        "PUT /namespaces/{ns}/policy",
        lambda: admin.floors.set({"approvals": 2}, namespace="crew", reason="y"),
    )
    m.record("floor-server", "PUT /policy", lambda: admin.floors.set({"approvals": 1}, reason="x"))
    m.ask(
        "quarantine-clear",
        f"DELETE {path}/quarantine/{{version}}",
        "/deltas/team/lora/channels/dev/quarantine/2?reason=x",
        by="ben",
    )
    agent = {"engine": "dir", "every_s": 10, "serves": [{"channel": "team/lora@prod", "state": "ok"}]}
    m.server.http(m.tokens["ben"]).put("/fleet/agents/idle", json=agent).raise_for_status()
    m.ask("agent-forget", "DELETE /fleet/agents/{agent}", "/fleet/agents/idle", by="ben")
    m.ask("agent", "PUT /fleet/agents/{agent}", "/fleet/agents/host", by="ben", body=agent)


def _pushes(m):
    line = m.line

    def push(source, to, **options):
        return lambda: line.versions.push(DELTAS / source, to, base="tinyllama", golden=False, **options)

    m.record("push-open", "POST /uploads", push("lora", "team/another"), until="/uploads")
    m.record("push-pack", "PUT /uploads/{upload_id}/packs/{number}", push("lora_qv", "crew/fresh"), until="/packs/0")
    m.record("push", "POST /uploads/{upload_id}:complete", push("lora", "team/new"), until=":complete")
    m.record("push-same", "POST /uploads/{upload_id}:complete", push("lora", "team/lone"), until=":complete")
    m.record("push-other", "POST /uploads/{upload_id}:complete", push("lora_qv", "team/near"), until=":complete")
    other = SAMPLES / "bases" / "tinyllama_bf16"
    m.record(
        "base-push",
        "POST /uploads/{upload_id}:complete-base",
        lambda: m.admin.bases.push(other, "small"),
        until=":complete-base",
    )
    m.record(
        "base-register",
        "POST /uploads/{upload_id}:register-base",
        lambda: m.admin.bases.register(other, "known"),
        until=":register-base",
    )
    upload = m.found["push-other"].path.partition(":complete")[0]
    m.ask("push-abort", "DELETE /uploads/{upload_id}", upload.removeprefix(API), by="maker")
