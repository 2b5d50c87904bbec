"""Keys and signed verdicts on the command line: enrol, verify offline, and a server that lies."""

import base64
import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from deltareg.client import WorkerClient
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.host.token_files import write_token
from deltareg.signing.envelopes import seal
from deltareg.signing.keys import SigningKey
from deltareg.signing.statement import PAYLOAD_TYPE
from deltareg.wire import LeaseRequest
from tests.fixtures.registries import report
from tests.service import rows
from tests.signers import key_of

REF = "team/lora:v1"


@pytest.fixture
def ana(shell, local_registry, monkeypatch):
    """Give a command line on a registry whose `team/lora:v1` passed and is on prod."""
    local_registry.line("lora")
    monkeypatch.setenv("DELTAREG_SERVER", local_registry.url)
    token = local_registry.token("read", "push", "promote", "admin", principal="ana")
    write_token(local_registry.url, token)
    return shell


def test_a_worker_is_enrolled_rotated_and_revoked(ana, tmp_path):
    first, second = SigningKey.generate(), SigningKey.generate()
    (tmp_path / "w.pub").write_text(f"{first.public}@rack-7\n")

    made = ana("worker", "enrol", "gpu-9", "--key", str(tmp_path / "w.pub"), "--json")
    again = ana("worker", "enrol", "gpu-9", "--key", str(second.public))
    rotated = ana("worker", "rotate", "gpu-9", "--key", str(second.public), "--json")
    revoked = ana("worker", "revoke", "gpu-9", "-m", "stolen", "--yes", "--json")
    listed = ana("worker", "keys", "--json").json["items"]

    assert (made.status, made.json["host"], made.json["state"]) == (0, "rack-7", "live")
    assert again.status == 5
    assert "worker rotate gpu-9" in again.err
    assert rotated.json["keyid"] == second.keyid
    assert (revoked.json["state"], revoked.json["reason"]) == ("revoked", "stolen")
    states = {key["keyid"]: key["state"] for key in listed if key["name"] == "gpu-9"}
    assert states == {first.keyid: "retired", second.keyid: "revoked"}


def test_a_private_key_is_not_taken_for_a_public_one(ana, tmp_path):
    (tmp_path / "key.pem").write_bytes(SigningKey.generate().pem())

    for given in (str(tmp_path / "key.pem"), "nonsense", str(tmp_path)):
        refused = ana("worker", "enrol", "gpu-9", "--key", given)
        assert refused.status == 2
        assert "deltareg-worker key" in refused.err


def test_what_was_signed_is_verified_offline(ana, tmp_path, monkeypatch):
    out, keys = str(tmp_path / "v.jsonl"), str(tmp_path / "keys.json")
    assert ana("verdict", "export", REF, "--out", out).status == 0
    assert ana("worker", "keys", "--export", keys).status == 0
    shown = ana("verdict", "show", REF, "--envelope").out
    monkeypatch.setenv("DELTAREG_SERVER", "http://127.0.0.1:9")  # nobody is there

    verified = ana("verdict", "verify", out, "--keys", keys, "--json")

    assert verified.status == 0
    (proof,) = verified.json["items"]
    assert (proof["ref"], proof["verdict"], proof["signed_by"]) == (REF, "pass", "worker")
    assert (proof["enrolled_by"], proof["key_state"]) == ("registry", "live")
    assert json.loads(shown) == json.loads(Path(out).read_text())


def test_a_file_that_was_changed_or_whose_key_is_not_trusted_does_not_hold(ana, tmp_path):
    out, keys = tmp_path / "v.jsonl", tmp_path / "keys.json"
    ana("verdict", "export", REF, "--out", str(out))
    ana("worker", "keys", "--export", str(keys))
    envelope, trusted = json.loads(out.read_text()), json.loads(keys.read_text())
    changed = envelope["payload"][:400] + "A" + envelope["payload"][401:]
    (tmp_path / "changed").write_text(json.dumps(envelope | {"payload": changed}))
    others = [key for key in trusted["keys"] if key["name"] != "worker"]
    (tmp_path / "others").write_text(json.dumps(trusted | {"keys": others}))
    revoked = [{**key, "state": "revoked", "reason": "x"} for key in trusted["keys"]]
    (tmp_path / "revoked").write_text(json.dumps(trusted | {"keys": revoked}))

    for file, by in (("changed", keys), (out, tmp_path / "others"), (out, tmp_path / "revoked")):
        found = ana("verdict", "verify", str(tmp_path / file), "--keys", str(by))
        assert found.status == 6, (file, by)


def test_keys_are_pinned_at_the_first_use_and_new_ones_only_when_it_is_said(ana, local_registry):
    assert ana("verdict", "verify", REF).status == 0
    key = key_of("new")
    client = local_registry.client(("read", "push", "admin"), principal="boss")
    client.keys.enrol("new", str(key.public), host="rack-7")
    judge_as(local_registry, client, "new", key)

    before = ana("verdict", "verify", REF)
    ana("worker", "keys", "--pin")
    after = ana("verdict", "verify", REF)

    assert before.status == 6
    assert "nobody who is trusted" in before.err
    assert after.status == 0


def test_the_gate_is_not_believed_about_a_verdict_that_nobody_signed(ana, local_registry):
    gate = ("gate", "check", REF, "--channel", "prod")
    assert ana(*gate).status == 0
    forged = sign_anew(local_registry, SigningKey.generate())

    refused = ana(*gate)

    assert (refused.status, forged) == (6, True)
    assert "nobody who is trusted" in refused.err


def judge_as(server, client, name, key):
    """Let another worker judge the version, whose key is new."""
    token = server.token("read", "verify", principal=name, kind="wrk")
    with WorkerClient(server._config(token), key=key) as worker:
        client.verify(REF, again=True)
        grant = worker.lease(LeaseRequest(worker=name))
        assert grant is not None
        assert worker.complete_run(grant.run, report(grant)).verdict == "pass"


def sign_anew(server, key):
    """Put another signature under what the server shows, as its owner could."""
    with write(server.registry.engine) as conn, rows.unguarded(conn, t.verdict_envelopes):
        (body,) = conn.execute(sa.select(t.verdict_envelopes.c.body)).scalars()
        payload = base64.b64decode(json.loads(body)["payload"])
        sealed = seal(payload, key, payload_type=PAYLOAD_TYPE)
        conn.execute(sa.update(t.verdict_envelopes).values(body=sealed))
    return sealed != body
