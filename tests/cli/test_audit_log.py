"""The audit trail as a log on the command line: verified, exported, remembered, refused."""

import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy as sa

from deltareg.client import Client, ClientConfig
from deltareg.db import tables as t
from deltareg.db.session import write
from deltareg.errors import IntegrityFailure
from deltareg.host.token_files import write_token
from deltareg.service.access.server_keys import announce_server_key
from deltareg.service.trail.keep import CheckpointStores
from deltareg.service.trail.rotate import rotate_server_key
from deltareg.service.trail.seal import seal_some
from deltareg.trail.checkpoint import open_checkpoint
from tests.service import rows
from tests.signers import key_of
from tests.trail.logs import KEYS, SERVER, fill, seal_all

SEALED = (t.log_statements, t.log_nodes, t.log_leaves, t.log_checkpoints)


@pytest.fixture
def sealed(local_registry):
    """Give a registry whose server seals."""
    registry = replace(local_registry.registry, signer=SERVER)
    announce_server_key(registry)
    fill(registry, 20)
    seal_all(registry)
    return registry


@pytest.fixture
def ana(shell, local_registry, sealed, monkeypatch):
    """Give a command line of an admin on it."""
    monkeypatch.setenv("DELTAREG_SERVER", local_registry.url)
    write_token(local_registry.url, local_registry.token("read", "admin", principal="ana"))
    return shell


def forget(registry, tables=SEALED):
    """Take the log away, as a backup of before it was sealed has none."""
    with write(registry.engine) as conn:
        for table in tables:
            with rows.unguarded(conn, table):
                conn.execute(sa.delete(table))
        conn.execute(sa.delete(t.unsealed))
        conn.execute(sa.insert(t.unsealed).from_select(["audit_id"], sa.select(t.audit.c.id)))


def test_the_log_holds_and_says_what_nothing_protects_yet(ana):
    report = ana("audit", "verify", "--json")

    found = report.json
    assert (report.status, found["holds"], found["findings"]) == (0, True, [])
    assert found["signed"] == found["size"] > 20
    assert found["waiting"] > 0  # the token of this test
    assert found["from_before"] > 20
    assert found["statements"] > 0
    shown = ana("audit", "verify")
    assert "are from before the log" in shown.out
    assert "nothing that was kept elsewhere" in shown.out


def test_rows_that_were_read_are_read_again_only_when_asked_for_or_after_a_week(ana, sealed, monkeypatch):
    first = ana("audit", "verify", "--json").json
    fill(sealed, 5)
    seal_all(sealed)
    since = ana("audit", "verify", "--json").json
    shown = ana("audit", "verify").out
    whole = ana("audit", "verify", "--whole", "--json").json
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86_400)
    later = ana("audit", "verify", "--json").json

    assert (first["read_before"], since["read_before"]) == (0, first["size"])
    assert "--whole reads all again" in shown
    assert (whole["read_before"], later["read_before"]) == (0, 0)
    told = ("size", "signed", "root", "statements", "from_before", "findings", "keyid")
    assert [since[name] for name in told] == [whole[name] for name in told] == [later[name] for name in told]
    assert since["size"] >= first["size"] + 5


def test_a_problem_has_all_rows_read_and_nothing_is_kept_of_it(ana, sealed):
    ana("audit", "verify")
    fill(sealed, 5)
    seal_all(sealed)
    with write(sealed.engine) as conn, rows.unguarded(conn, t.audit):
        conn.execute(sa.update(t.audit).where(t.audit.c.subject == "lab/x@prod7").values(subject="lab/x@prod8"))
    unseen = ana("audit", "verify", "--json")  # the row was read, and is not read again
    with write(sealed.engine) as conn, rows.unguarded(conn, t.audit):
        newest = sa.select(sa.func.max(t.log_leaves.c.audit_id)).scalar_subquery()
        conn.execute(sa.update(t.audit).where(t.audit.c.id == newest).values(subject="lab/x@prod9"))
    fill(sealed, 1)
    seal_all(sealed)
    whole = ana("audit", "verify", "--whole", "--json")
    again = ana("audit", "verify", "--json")

    assert unseen.status == 0
    assert [one["what"] for one in whole.json["findings"]][:2] == ["edited", "edited"]
    assert (whole.status, again.status) == (6, 6)
    assert again.json["read_before"] == 0


def test_an_export_is_verified_offline_and_a_changed_row_is_named(ana, sealed, tmp_path):
    log, keys = tmp_path / "log.jsonl", tmp_path / "keys.json"
    assert ana("audit", "export", "--proofs", "--out", str(log)).status == 0
    ana("worker", "keys", "--export", str(keys))
    piped = ana("audit", "export", "--proofs").out

    whole = ana("audit", "verify", str(log), "--keys", str(keys), "--server", "http://nobody:1")
    log.write_text(log.read_text().replace("lab/x@prod7", "lab/x@prod8", 1))
    changed = ana("audit", "verify", str(log), "--keys", str(keys), "--json")

    assert (whole.status, changed.status) == (0, 6)
    first = changed.json["findings"][0]
    assert (first["what"], "lab/x@prod8" in first["text"]) == ("edited", True)
    assert [json.loads(line) for line in piped.splitlines()][-1]["end"] is True


def test_an_export_of_before_is_none_that_can_be_verified(ana, tmp_path):
    old = tmp_path / "audit.jsonl"
    old.write_text(ana("audit", "export").out)

    refused = ana("audit", "verify", str(old))

    assert json.loads(old.read_text().splitlines()[0])["action"] == "token.create"
    assert refused.status == 2
    assert "audit export --proofs" in refused.err
    assert ana("audit", "export", "--out", "x").status == 2
    assert ana("audit", "verify", "nowhere.jsonl").status == 2


def excerpt(ana, tmp_path, *asked):
    """Write a part of the log, and the keys to verify it with."""
    part, keys = tmp_path / "part.jsonl", tmp_path / "keys.json"
    assert ana("audit", "export", *asked, "--proofs", "--out", str(part)).status == 0
    ana("worker", "keys", "--export", str(keys))
    return part, ("--keys", str(keys), "--server", "http://nobody:1")


def test_a_part_is_verified_offline_without_the_rest(ana, sealed, tmp_path):
    part, offline = excerpt(ana, tmp_path, "--actor", "ada", "--action", "channel", "--until", "2100-01-01")
    lines = [json.loads(line) for line in part.read_text().splitlines()]
    rows_of_it = [line for line in lines if "position" in line]

    report = ana("audit", "verify", str(part), *offline, "--json")

    assert (report.status, report.json["holds"], report.json["rows"]) == (0, True, len(rows_of_it))
    assert {line["leaf"]["action"] for line in rows_of_it} == {"channel.clear"}
    assert report.json["statements"] == len(rows_of_it) >= 2
    assert "others that were left out do not show" in ana("audit", "verify", str(part), *offline).out


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda lines: lines[2]["leaf"].update(actor="eve"), "edited"),
        (lambda lines: lines[2].update(position=lines[2]["position"] + 1), "edited"),
        (lambda lines: lines[2].update(hashes=lines[2]["hashes"][1:]), "edited"),
        (lambda lines: lines[2].update(statement=lines[3]["statement"]), "statement"),
        (lambda lines: lines.insert(3, lines[2]), "reordered"),
        (lambda lines: lines.pop(), "truncated"),
        (lambda lines: lines.pop(2), "truncated"),
        (lambda lines: lines.pop(1), "unsigned"),
        (lambda lines: lines[1].update(checkpoint=lines[1]["checkpoint"].replace("\n2", "\n3", 1)), "unsigned"),
        (lambda lines: lines[0].update(origin="another/log"), "unsigned"),
    ],
)
def test_a_part_that_was_changed_does_not_hold(ana, sealed, tmp_path, change, what):
    part, offline = excerpt(ana, tmp_path, "--action", "channel")
    lines = [json.loads(line) for line in part.read_text().splitlines()]
    change(lines)
    part.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    report = ana("audit", "verify", str(part), *offline, "--json")

    assert (report.status, report.json["findings"][0]["what"]) == (6, what)


def test_what_is_not_sealed_yet_is_no_part_for_an_auditor(ana, sealed, tmp_path):
    fill(sealed, 1)
    refused = ana("audit", "export", "--actor", "ada", "--proofs", "--out", str(tmp_path / "part.jsonl"))

    assert refused.status != 0
    assert "not sealed yet" in refused.err
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_checkpoint_is_given_as_it_was_signed(ana):
    shown = ana("audit", "checkpoint", "--json").json
    note = ana("audit", "checkpoint", "--note").out

    head = open_checkpoint(note, KEYS).checkpoint
    assert (head.origin, head.size, head.root.hex()) == (shown["origin"], shown["size"], shown["root"])


def test_what_is_shown_of_a_checkpoint_is_what_was_verified(ana, sealed, local_registry, tmp_path):
    """A server that gives an honest checkpoint first and shows something else afterwards."""
    token = local_registry.token("read", principal="bob")
    with Client(ClientConfig(server=local_registry.url, token=token, cache_dir=tmp_path)) as bob:
        honest = bob.audit.checkpoint()
        asked = []

        def lie(response):
            if response.request.url.path.endswith("/audit/checkpoint"):
                asked.append(response)
                told = {**json.loads(response.read()), "size": 10**6, "root": "00" * 32}
                told |= {"note": "a lie"} if len(asked) > 1 else {}
                response._content = json.dumps(told).encode()

        bob._context.api._http.event_hooks["response"].append(lie)
        again = bob.audit.checkpoint()

    assert (again.size, again.root, again.note) == (honest.size, honest.root, honest.note)


def test_one_row_is_proven(ana, sealed):
    with write(sealed.engine) as conn:
        moved = conn.execute(sa.select(t.audit.c.id).where(t.audit.c.action == "channel.clear")).scalars()
        number = moved.first()

    proof = ana("audit", "prove", str(number), "--json").json

    assert (proof["row"], proof["action"], proof["is_signed"]) == (number, "channel.clear", True)
    assert ana("audit", "prove", "99999").status == 3


def test_a_log_that_grew_is_taken_and_one_that_shrank_is_refused(ana, sealed):
    ana("audit", "checkpoint")
    fill(sealed, 300)
    seal_all(sealed)
    grown = ana("audit", "checkpoint", "--json")
    forget(sealed)
    gone = ana("audit", "checkpoint")
    seal_some_rows(sealed, 10)
    older = ana("audit", "checkpoint")
    verified = ana("audit", "verify", "--json")

    accepted = ana("audit", "accept", "--json")
    after = ana("audit", "checkpoint")

    assert grown.json["size"] > 300
    assert (gone.status, older.status, verified.status) == (6, 6, 6)
    assert "is gone" in gone.err
    assert "older than what this machine saw" in older.err
    assert "deltareg audit accept" in older.err
    assert verified.json["findings"][0]["what"] == "truncated"
    assert (accepted.status, accepted.json["size"], after.status) == (0, 10, 0)


def seal_some_rows(registry, number):
    assert seal_some(registry, rows=number) == number


def test_a_log_that_was_written_anew_is_refused(ana, sealed, tmp_path):
    places = CheckpointStores(file=tmp_path / "kept.jsonl")
    forget(sealed)
    seal_all(sealed, tell=places.keep)
    assert ana("audit", "checkpoint").status == 0
    with write(sealed.engine) as conn, rows.unguarded(conn, t.audit):
        conn.execute(sa.update(t.audit).where(t.audit.c.id == 5).values(actor="eve"))
    forget(sealed)
    fill(sealed, 3)
    seal_all(sealed)

    seen = ana("audit", "checkpoint")
    verified = ana("audit", "verify", "--json")
    named = ana("audit", "verify", "--against", str(places.file), "--json")

    assert (seen.status, verified.status, named.status) == (6, 6, 6)
    assert "was rewritten" in seen.err
    assert verified.json["findings"][0]["what"] == "forked"
    assert (named.json["findings"][0]["what"], named.json["findings"][0]["row"]) == ("edited", 5)


def test_another_log_under_the_same_address_is_refused(ana, sealed):
    ana("audit", "checkpoint")
    forget(sealed, (*SEALED, t.log_origins))
    seal_all(sealed)

    refused = ana("audit", "checkpoint")

    assert refused.status == 6
    assert "has another log" in refused.err
    assert ana("audit", "prove", "1").status == 6


MOVED = "UPDATE revisions SET version_id = 2 WHERE version_id = 1"
THIEF = key_of("thief")
PUT_IN = (
    "INSERT INTO signing_keys (role, name, keyid, public, created_at)"
    f" VALUES ('server', 'server', '{THIEF.keyid}', '{THIEF.public}', 1)"
)
EDITS = {
    "team/lora@prod": (t.revisions, MOVED),
    "team/lora:v1": (t.revocations, "DELETE FROM revocations WHERE ended_at IS NULL"),
    f"key/{THIEF.keyid}": (t.signing_keys, PUT_IN),
}


@pytest.mark.parametrize("subject", EDITS)
def test_what_was_done_in_the_tables_alone_is_no_row_of_the_log(shell, local_registry, monkeypatch, subject):
    client = local_registry.line("lora", "lora_v2")
    client.rollback("team/lora", "prod", reason="worse")
    client.channels.freeze("team/lora", "prod", reason="holidays")
    client.versions.revoke("team/lora:v1", reason="wrong data", even_if_served=True)
    client.versions.revoke("team/lora:v2", reason="by mistake")
    client.versions.unrevoke("team/lora:v2", reason="by mistake")
    sealed = replace(local_registry.registry, signer=SERVER)
    announce_server_key(sealed)
    seal_all(sealed)
    monkeypatch.setenv("DELTAREG_SERVER", local_registry.url)
    write_token(local_registry.url, local_registry.token("read", "admin", principal="ana"))
    ana = shell
    whole = ana("audit", "verify", "--json")
    table, edit = EDITS[subject]

    with write(sealed.engine) as conn, rows.unguarded(conn, table):
        conn.exec_driver_sql(edit)

    changed = ana("audit", "verify", "--json")
    assert changed.status == 6
    # The worker of the tests was enrolled by no request, so of its key there is no row either.
    told = [each["text"] for each in changed.json["findings"] if each not in whole.json["findings"]]
    assert len(told) == 1
    assert told[0].startswith(f"{subject} is ")
    assert all("worker" in each["text"] for each in whole.json["findings"])


def clients(local_registry, monkeypatch, tmp_path, number):
    """Give people on machines of their own, one after another."""
    token = local_registry.token("read", "admin", principal="ana")
    for each in range(number):
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / f"machine-{each}"))
        config = ClientConfig(server=local_registry.url, token=token, cache_dir=tmp_path / "cache")
        with Client(config) as client:
            yield client


def alarm(client):
    """Say what a client that saw the registry before says of its log now; empty for nothing."""
    try:
        client.audit.checkpoint()
        return "".join(each.what for each in client.audit.verify(whole=True).findings)
    except IntegrityFailure as error:
        return error.code


@pytest.mark.parametrize("number", [2, pytest.param(20, marks=pytest.mark.soak)])
def test_clients_follow_rotations_and_find_an_edit_after_them(sealed, local_registry, monkeypatch, tmp_path, number):
    everybody = lambda: clients(local_registry, monkeypatch, tmp_path, number)  # noqa: E731
    assert [alarm(one) for one in everybody()] == [""] * number
    for name in ("the second", "the third"):  # away through both
        rotate_server_key(sealed, key_of(name))
        fill(sealed, 12)
        seal_all(sealed)
    after = [alarm(one) for one in everybody()]
    with write(sealed.engine) as conn, rows.unguarded(conn, t.audit):
        conn.execute(sa.update(t.audit).where(t.audit.c.subject == "lab/x@prod7").values(actor="eve"))
    edited = [alarm(one) for one in everybody()]

    assert after == [""] * number
    assert [each.startswith("edited") for each in edited] == [True] * number


def test_a_new_key_is_trusted_where_the_old_one_vouches_for_it_in_the_log(ana, sealed, tmp_path):
    old_keys, part = tmp_path / "old.json", tmp_path / "part.jsonl"
    ana("worker", "keys", "--export", str(old_keys))
    ana("audit", "checkpoint")
    batch = rotate_server_key(sealed, key_of("the second"))
    fill(sealed, 30)
    seal_all(sealed)
    assert ana("audit", "export", "--action", "channel", "--proofs", "--out", str(part)).status == 0

    proven = ana("audit", "prove", str(batch.rows[0]), "--json")
    offline = ana("audit", "verify", str(part), "--keys", str(old_keys), "--server", "http://nobody:1", "--json")
    verified = ana("audit", "verify", "--json")

    assert (proven.status, offline.status, verified.status) == (0, 0, 0)
    assert (proven.json["action"], proven.json["is_signed"]) == ("key.rotate", True)
    assert offline.json["keyid"] == verified.json["keyid"] == key_of("the second").keyid


def put_in(registry, key, *, action="key.enrol", before=None):
    """Let servers sign with a key past the registry, as who owns the database can, and a server of before did."""
    with write(registry.engine) as conn, rows.unguarded(conn, t.signing_keys):
        conn.execute(sa.delete(t.server_keys))
        named = {"role": "server", "name": "server", "keyid": key.keyid, "public": str(key.public), "created_at": 1}
        conn.execute(sa.insert(t.signing_keys).values(**named))
        after = {"role": "server", "key": str(key.public)}
        told = {"actor": "registry", "action": action, "subject": f"key/{key.keyid}", "before": before, "after": after}
        conn.execute(sa.insert(t.audit).values(**told, request_id=""))
    seal_all(replace(registry, signer=key))


def test_a_key_that_no_former_one_vouches_for_is_refused_until_somebody_trusts_it(ana, sealed):
    ana("audit", "checkpoint")
    put_in(sealed, THIEF, action="key.rotate", before={"role": "server", "keyid": SERVER.keyid})

    seen, verified = ana("audit", "checkpoint"), ana("audit", "verify")
    gate = ana("audit", "prove", "5")
    ana("worker", "keys", "--pin")
    pinned = ana("audit", "verify", "--json")

    assert (seen.status, verified.status, gate.status) == (6, 6, 6)
    assert f"key {THIEF.keyid[:16]}" in " ".join(seen.err.split())
    assert "rewritten" not in seen.err + verified.out
    assert "worker keys --pin" in seen.err
    assert (pinned.status, "no former key" in str(pinned.json["notices"])) == (0, True)


def test_a_log_that_is_set_back_before_a_rotation_is_refused(ana, sealed, tmp_path):
    ana("audit", "checkpoint")
    with closing(sqlite3.connect(sealed.engine.url.database)) as now:
        now.execute("VACUUM INTO ?", [str(tmp_path / "saved.db")])
    rotate_server_key(sealed, key_of("the second"))
    fill(sealed, 5)
    seal_all(sealed)
    assert ana("audit", "checkpoint").status == 0
    sealed.engine.dispose()
    with (
        closing(sqlite3.connect(tmp_path / "saved.db")) as saved,
        closing(sqlite3.connect(sealed.engine.url.database)) as now,
    ):
        saved.backup(now)
    before = replace(sealed, rotated=[])

    older = ana("audit", "checkpoint")
    fill(before, 300)
    seal_all(before)
    longer = ana("audit", "checkpoint")

    assert (older.status, longer.status) == (6, 6)
    assert "older than what this machine saw" in older.err
    assert "was rewritten" in longer.err


def test_a_registry_without_a_log_is_accepted_too(ana, sealed):
    ana("audit", "checkpoint")
    forget(sealed)

    assert ana("audit", "checkpoint").status == 6
    assert ana("audit", "accept").status == 3
    assert ana("audit", "checkpoint").status == 3
