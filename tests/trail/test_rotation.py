"""The key that servers share, and how another takes its place: on both databases."""

import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from threading import Barrier

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import create_engine, read, write
from deltareg.db.verdicts.server_keys import current_key, live_server_keys
from deltareg.errors import Conflict, Misconfigured
from deltareg.service.access.keys import revoke_key
from deltareg.service.access.server_keys import take_server_key
from deltareg.service.registry import Registry
from deltareg.service.trail.proofs import show_checkpoint
from deltareg.service.trail.rotate import rotate_server_key
from deltareg.service.trail.seal import seal_some
from deltareg.signing.keys import PublicKey, SigningKey
from deltareg.signing.secret_box import SecretBox
from deltareg.store.memory import MemoryStore
from deltareg.trail.check import LogEvidence
from deltareg.trail.checkpoint import Checkpoint, open_checkpoint
from deltareg.trail.lines import check_lines
from deltareg.trail.rotations import RotationProof, ServerKeyChain, follow_rotations
from deltareg.trail.statements import sign_change
from deltareg.wire import KeyRevoke
from tests.service import rows
from tests.signers import key_of
from tests.trail.logs import ADMIN, fill, lines_of, seal_all

BOX, _ = SecretBox.generate()
FIRST, NEXT, THIRD, THIEF = (key_of(name) for name in ("the first", "the next", "the third", "thief"))


def started(engine, *, box=BOX, key=None, make=SigningKey.generate):
    """Start a server of a registry, with a key in a file of its own or without."""
    registry = Registry(engine, MemoryStore(), signer=key, box=box)
    return replace(registry, signer=take_server_key(registry, make))


@pytest.fixture
def registry(engine):
    server = started(engine, key=FIRST)
    fill(server, 20)
    seal_all(server)
    return server


def verified(registry, *keys, revoked=()):
    return check_lines(lines_of(registry), [key.public for key in keys], LogEvidence(), revoked=revoked)


def name_of(key):
    assert key is not None
    return key.keyid


def live_keys(engine):
    with read(engine) as conn:
        return [row.keyid for row in live_server_keys(conn)]


def at_once(*calls):
    """Run calls at the same moment; gives what each returned or raised."""
    barrier = Barrier(len(calls))

    def run(call):
        barrier.wait()
        try:
            return call()
        except (Misconfigured, Conflict) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_who_pinned_the_old_key_follows_through_rotations(registry):
    rotate_server_key(registry, NEXT)
    fill(registry, 10)
    seal_all(registry)
    rotate_server_key(registry, THIRD)
    fill(registry, 10)
    seal_all(registry)

    check = verified(registry, FIRST)

    assert (check.findings, check.notices, check.waiting) == ([], [], 0)
    assert check.last.checkpoint.size == check.size
    assert [key.keyid for key in check.new_keys] == [NEXT.keyid, THIRD.keyid]
    assert check.last.key == THIRD.public
    assert live_keys(registry.engine) == [THIRD.keyid]


def test_an_edit_after_a_rotation_is_an_alarm_still(registry):
    rotate_server_key(registry, NEXT)
    fill(registry, 10)
    seal_all(registry)
    with write(registry.engine) as conn, rows.unguarded(conn, t.audit):
        conn.execute(sa.update(t.audit).where(t.audit.c.subject == "lab/x@prod7").values(actor="eve"))

    assert verified(registry, FIRST).findings[0].what == "edited"


def test_servers_that_run_take_the_new_key_by_themselves(registry):
    other = started(registry.engine)
    rotate_server_key(registry, NEXT)
    fill(registry, 3)
    seal_some(other)

    assert name_of(other.own_key) == NEXT.keyid
    assert open_checkpoint(show_checkpoint(other, ADMIN).note, [NEXT.public]).key == NEXT.public
    assert name_of(started(registry.engine).signer) == NEXT.keyid
    assert name_of(started(registry.engine, key=FIRST).signer) == NEXT.keyid  # the file is of before


def test_of_two_first_servers_at_once_one_brings_the_key(engine):
    keys = [key_of("one"), key_of("two")]

    servers = at_once(*(lambda key=key: started(engine, key=key) for key in keys))

    assert len({server.signer.keyid for server in servers}) == 1
    assert live_keys(engine) == [servers[0].signer.keyid]


@pytest.mark.parametrize("place", range(8))
def test_a_first_server_takes_the_key_of_one_that_started_meanwhile(postgresql_engine, place):
    statements = count()

    def start_another(_conn, _cursor, _statement, _parameters, _context, _many):
        if next(statements) == place:
            other = create_engine(postgresql_engine.url)
            started(other, key=key_of("two"))
            other.dispose()

    sa.event.listen(postgresql_engine, "before_cursor_execute", start_another)
    server = started(postgresql_engine, key=key_of("one"))

    assert live_keys(postgresql_engine) == [name_of(server.signer)]


def test_of_two_first_servers_that_share_nothing_one_is_refused(engine):
    keys = [key_of("one"), key_of("two")]

    servers = at_once(*(lambda key=key: started(engine, key=key, box=None) for key in keys))

    (refused,) = [each for each in servers if isinstance(each, Misconfigured)]
    (server,) = [each for each in servers if isinstance(each, Registry)]
    assert live_keys(engine) == [name_of(server.signer)]
    assert name_of(server.signer)[:16] in refused.message
    assert "DELTAREG_WEBHOOK_KEY" in refused.fix


def test_a_server_without_the_key_does_not_start(registry):
    other_box, _ = SecretBox.generate()
    for lacking in ({"box": None}, {"box": other_box}, {"box": None, "key": THIEF}):
        with pytest.raises(Misconfigured, match=FIRST.keyid[:16]):
            started(registry.engine, **lacking)

    assert live_keys(registry.engine) == [FIRST.keyid]


def test_the_keys_of_before_go_on_and_a_rotation_makes_them_one(engine):
    """Two servers of the release before, each with a key of its own."""
    with write(engine) as conn:
        for key in (FIRST, NEXT):
            row = {"role": "server", "name": "server", "keyid": key.keyid, "public": str(key.public), "created_at": 1}
            conn.execute(sa.insert(t.signing_keys).values(**row))
    with pytest.raises(Misconfigured):
        started(engine)
    first = started(engine, key=NEXT)
    other = started(engine, key=FIRST)

    rotate_server_key(first, THIRD)

    assert first.signer.keyid == other.signer.keyid == NEXT.keyid
    assert live_keys(engine) == [THIRD.keyid]


def test_two_rotations_at_once_follow_one_another(registry):
    done = at_once(lambda: rotate_server_key(registry, NEXT), lambda: rotate_server_key(registry, THIRD))

    check = verified(registry, FIRST)
    assert not any(isinstance(each, Exception) for each in done)
    assert {key.keyid for key in check.new_keys} == {NEXT.keyid, THIRD.keyid}
    assert check.findings == []
    assert live_keys(registry.engine) == [check.new_keys[-1].keyid]


def test_a_rotation_that_is_not_committed_did_not_happen(registry):
    before = lines_of(registry)

    def die(_connection):
        raise KeyboardInterrupt

    sa.event.listen(registry.engine, "commit", die)
    try:
        with pytest.raises(KeyboardInterrupt):
            rotate_server_key(registry, NEXT)
    finally:
        sa.event.remove(registry.engine, "commit", die)

    assert lines_of(registry) == before
    with read(registry.engine) as conn:
        assert name_of(current_key(conn)) == FIRST.keyid
    rotate_server_key(registry, NEXT)
    assert verified(registry, FIRST).findings == []


def test_a_key_that_was_lost_is_followed_by_one_that_people_trust_by_hand(registry):
    gone, _ = SecretBox.generate()
    keyless = replace(registry, box=gone, signer=None)
    with pytest.raises(Misconfigured, match=r"(?s)sealed under") as refused:
        rotate_server_key(keyless, NEXT)
    rotate_server_key(keyless, NEXT, is_lost=True)

    assert "--lost" in refused.value.fix
    assert {each.what for each in verified(registry, FIRST).findings} == {"unsigned"}
    by_hand = verified(registry, FIRST, NEXT)
    assert by_hand.findings == []
    assert NEXT.keyid[:16] in by_hand.notices[0]


def test_a_revoked_key_vouches_for_nothing(registry):
    caller = rows.caller(registry.engine, "root")
    revoke_key(registry, caller, FIRST.keyid, KeyRevoke(reason="stolen"))

    with pytest.raises(Conflict, match="revoked"):
        rotate_server_key(registry, NEXT)
    rotate_server_key(registry, NEXT, is_lost=True)

    check = verified(registry, FIRST)
    assert check.new_keys == []


def test_a_stolen_key_begins_no_second_chain(registry):
    rotate_server_key(registry, NEXT)
    with write(registry.engine) as conn:  # a thief who also writes the database, with the key of before
        conn.execute(sa.delete(t.server_keys).where(t.server_keys.c.keyid == NEXT.keyid))
        conn.execute(sa.update(t.server_keys).values(slot=1))
    thief = replace(registry, signer=FIRST)
    rotate_server_key(thief, THIEF)
    early = verified(registry, FIRST)
    fill(thief, 1)
    seal_all(thief)

    late = verified(registry, FIRST)
    assert [key.keyid for key in late.new_keys] == [NEXT.keyid]
    assert "stolen" in early.notices[-1]
    assert {each.what for each in late.findings} == {"unsigned"}
    assert verified(registry, FIRST, NEXT).new_keys == []


def test_a_rotation_that_is_not_in_the_log_leads_nowhere(registry):
    rotate_server_key(registry, NEXT)
    told = show_checkpoint(registry, ADMIN, rotations=True)
    (row,) = told.rotations
    head = Checkpoint.said_in(told.note)
    honest = RotationProof(row.position, row.leaf, row.statement, tuple(bytes.fromhex(each) for each in row.hashes))
    plain = {name: value for name, value in row.leaf.items() if name != "statement"} | {"id": 99}
    elsewhere, after = sign_change(plain, FIRST).decode(), row.leaf["after"]
    assert isinstance(after, dict)
    forgeries = [
        replace(honest, position=row.position - 1),
        replace(honest, hashes=honest.hashes[:-1]),
        replace(honest, statement=""),
        replace(honest, statement=elsewhere),
        replace(honest, leaf={**row.leaf, "after": after | {"key": str(THIEF.public)}}),
    ]

    def followed(rotation, *keys, revoked=()):
        chain = ServerKeyChain([key.public for key in keys], revoked=revoked)
        follow_rotations(chain, [rotation], head)
        return chain.found

    assert followed(honest, FIRST) == [NEXT.public]
    assert [followed(each, FIRST) for each in forgeries] == [[]] * len(forgeries)
    assert followed(honest, THIEF) == []
    assert followed(honest, FIRST, revoked=[FIRST.public]) == []
    assert followed(honest, FIRST, revoked=[PublicKey.parse(str(NEXT.public))]) == []


@pytest.mark.soak
def test_kills_in_the_middle_of_rotations_leave_a_log_that_holds(database_url, engine, tmp_path):
    box, text = SecretBox.generate()
    registry = started(engine, box=box, key=FIRST)
    seal_file = tmp_path / "webhook-key"
    seal_file.write_bytes(text)
    seal_file.chmod(0o600)
    environ = {**os.environ, "DELTAREG_DATABASE_URL": str(database_url), "DELTAREG_WEBHOOK_KEY": str(seal_file)}
    environ["DELTAREG_DATA_DIR"] = str(tmp_path / "data")
    line, chance = [sys.executable, "-m", "deltareg.api", "keys", "rotate"], random.Random(7)
    begin = time.monotonic()
    subprocess.run(line, env=environ, check=True)
    whole_s, is_killed = time.monotonic() - begin, []
    for _ in range(6):
        with subprocess.Popen(line, env=environ) as running:
            time.sleep(whole_s * chance.uniform(0.6, 1.05))
            running.kill()
        is_killed.append(running.returncode != 0)
        fill(registry, 1)
        seal_all(registry)

    check = verified(registry, FIRST)
    assert (check.findings, check.notices) == ([], [])
    assert any(is_killed)
    assert len(live_keys(engine)) == 1
    assert check.last.key.keyid == live_keys(engine)[0]
    assert started(engine, box=box).signer.keyid == live_keys(engine)[0]
