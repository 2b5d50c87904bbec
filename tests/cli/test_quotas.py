"""Quotas on the command line: refused with 12 and what frees room, warned of near the limit."""

import re

from deltareg.wire import API
from tests.conftest import REPOSITORY

BASE = REPOSITORY / "tests/samples/bases/tinyllama"
DELTAS = REPOSITORY / "tests/samples/deltas/tinyllama"


def test_what_does_not_fit_is_refused_with_12_and_says_what_frees_room(user):
    user("base", "push", BASE, "tinyllama")
    assert user("push", DELTAS / "lora", "team/chat", "--base", "tinyllama", "-q").status == 0
    held = next(use for use in user("quota", "ls", "team", "--json").json["uses"] if use["resource"] == "bytes")
    most = held["used"] + 1
    limit = user("quota", "set", "team", f"bytes={most}", "versions=5", "--json").json

    refused = user("push", DELTAS / "lora_dora", "team/chat", "--base", "tinyllama")
    after = user("quota", "ls", "team", "--json").json

    assert limit["limits"] == {"bytes": most, "versions": 5}
    assert refused.status == 12
    assert "team would have" in refused.err
    assert "team/chat has 1 version with" in refused.err
    assert "deltareg rm team/chat:vN" in refused.err
    assert [use["used"] for use in after["uses"]] == [held["used"], 1, 1, 0, 0, 0]

    assert user("rm", "team/chat:v1", "--yes").status == 0
    user("gc", "run", "--grace", "0s")
    assert user("push", DELTAS / "lora_dora", "team/chat", "--base", "tinyllama", "-q").status == 0


def test_a_push_near_a_limit_says_so_once_and_a_full_one_sends_nothing(user):
    user("base", "push", BASE, "tinyllama")
    user("quota", "set", "versions=2")
    user("quota", "set", "@ana", "bytes=none")

    first = user("push", DELTAS / "lora", "team/chat", "--base", "tinyllama")
    second = user("push", DELTAS / "lora_dora", "team/chat", "--base", "tinyllama")
    again = user("push", DELTAS / "lora_dora", "team/chat", "--base", "tinyllama", "-q")
    full = user("push", DELTAS / "lora_qv", "team/other", "--base", "tinyllama")

    assert "of its quota" not in first.out + first.err
    assert (second.out + second.err).count("team uses 100 % of its quota of 2 versions") == 1
    assert again.status == 0  # what is there already takes no room
    assert full.status == 12
    assert "team uses 2 versions, and its quota is 2" in full.err
    listed = user("quota", "ls").out
    assert re.search(r"team\s+versions\s+2\s+2\s+100 %", listed)


def test_limits_that_are_not_named_stay_and_default_takes_one_back(user):
    user("quota", "set", "team", "bytes=2kB", "lines=3")
    user("quota", "set", "team", "bytes=default", "minutes=60")

    assert user("quota", "ls", "team", "--json").json["limits"] == {"lines": 3, "minutes": 60}
    assert user("quota", "set", "team").status == 2
    assert user("quota", "set", "team", "bites=3").status == 2
    assert user("quota", "set", "team", "lines=many").status == 2
    assert user("quota", "set", "@nobody", "lines=1").status == 3


def test_used_up_minutes_refuse_a_verification_and_no_push(user, local_registry):
    user("base", "push", BASE, "tinyllama")
    user("quota", "set", "team", "minutes=0")

    pushed = user("push", DELTAS / "lora", "team/chat", "--base", "tinyllama")
    asked = user("verify", "team/chat:v1")

    assert pushed.status == 0
    assert asked.status == 12
    assert "they begin anew with the next month (UTC)" in asked.err
    runs = local_registry.http(local_registry.admin_token).get(f"{local_registry.url}{API}/runs").json()["items"]
    assert {run["what"] for run in runs} == {"prove"}
