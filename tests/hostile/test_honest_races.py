"""Honest pushes of the same bytes at once, one of which never ends: both teams have all of it."""

import filecmp
from concurrent.futures import ThreadPoolExecutor

import pytest

from deltareg.digest import sha256_of
from tests.api.forger import post, prepare, text
from tests.fixtures.registries import LOCAL, SAMPLES
from tests.proving import prove_all, prover_of

BASE, DELTA = SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "lora"
ROUNDS = [
    (LOCAL, 1),
    pytest.param(LOCAL, 40, marks=pytest.mark.soak),
    pytest.param("postgresql-local", 40, marks=[pytest.mark.soak, pytest.mark.postgres]),
]


@pytest.mark.parametrize(("both_stacks", "rounds"), ROUNDS, indirect=["both_stacks"])
def test_two_teams_push_the_same_at_once_and_one_dies(both_stacks, rounds, tmp_path):
    server = both_stacks
    ana, ben = (server.client(principal=name) for name in ("ana", "ben"))
    ana.bases.push(BASE, "tinyllama")
    prove_all(prover_of(server))
    dead = prepare(ana, "lora")

    for number in range(rounds):
        line, other = f"team/x{number}", f"other/x{number}"
        with ThreadPoolExecutor(4) as pool:
            ended = [
                pool.submit(ana.push, DELTA, line, base="tinyllama"),
                pool.submit(ben.push, DELTA, line, base="tinyllama"),
                pool.submit(ben.push, DELTA, other, base="tinyllama"),
                pool.submit(begin_and_die, server, dead, line),
            ]
            versions = [one.result() for one in ended][:3]
        prove_all(prover_of(server))
        ana.storage.collect(dry_run=False, grace_s=0)

        assert [one.version.version for one in versions] == [1, 1, 1]
        for ref in (f"{line}:v1", f"{other}:v1"):
            into = tmp_path / ref.replace("/", "-")
            server.client(principal="cyd").pull(ref, into)
            names = [path.name for path in into.iterdir()]
            assert filecmp.cmpfiles(DELTA, into, names, shallow=False)[0] == names
            assert ana.show(ref).proof == "proven"


def begin_and_die(server, push, line):
    """Open an upload, send what there is, and never complete it."""
    http = server.http(server.token("read", "push", principal="dan"))
    body = {"subject": "delta", "target": line, "manifest": text(push.manifest)}
    answer = post(http, "/uploads", body)
    if answer.json()["state"] != "open":
        return
    for number, data in enumerate(push.packs):
        headers = {"X-Content-Digest": str(sha256_of(data))}
        http.put(f"/uploads/{answer.json()['id']}/packs/{number}", content=data, headers=headers)
