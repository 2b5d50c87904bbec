"""The log of a line: all that is recorded of it, under every name that it had, page by page."""

import pytest

from tests.fixtures.registries import SAMPLES

DELTAS = SAMPLES / "deltas" / "tinyllama"


@pytest.fixture
def lived(registry_server):
    """Give the client of a line after all that may happen to one."""
    client = registry_server.line("lora", "lora_v2")
    client.versions.label("team/lora:v1", {"run": "7", "old": "x"})
    client.versions.label("team/lora:v1", remove=["old"])
    client.versions.edit("team/lora:v1", semver="1.0.0")
    client.versions.deprecate("team/lora:v1", reason="worse", successor="team/lora:v2")
    client.channels.create("team/lora", "canary")
    client.channels.rename("team/lora", "canary", "early")
    client.channels.freeze("team/lora", "prod", reason="a release")
    client.channels.unfreeze("team/lora", "prod", reason="it is out")
    client.lines.rename("team/lora", "team/chat")
    client.push(DELTAS / "lora_bf16", "team/chat", base="tinyllama", golden=False)
    client.versions.delete("team/chat:v3")
    client.versions.restore("team/chat:v3")
    client.versions.revoke("team/chat:v3", reason="poisoned data")
    client.versions.unrevoke("team/chat:v3", reason="a mistake")
    client.namespaces.rename("team", "crew")
    client.versions.deprecate("crew/chat", reason="over")
    return client


def told(entries):
    return [(entry.event, entry.ref.partition(":")[2] or entry.channel or "", entry.text) for entry in entries]


def test_all_that_happened_is_in_the_log_under_all_names(lived):
    entries = told(lived.lines.log("crew/chat", limit=200).items)

    for wanted in [
        ("label", "v1", "old=x, run=7"),
        ("label", "v1", "old taken away"),
        ("edit", "v1", "semver 1.0.0"),
        ("deprecate", "v1", "worse; use team/lora:v2"),
        ("create", "canary", ""),
        ("rename", "early", "from team/lora@canary to team/lora@early"),
        ("rename", "", "from team/lora to team/chat"),
        ("delete", "v3", ""),
        ("restore", "v3", ""),
        ("rename", "", "from team to crew"),
        ("deprecate", "", "over"),
    ]:
        assert entries.count(wanted) == 1, wanted
    kinds = [entry[0] for entry in entries]
    assert [kinds.count(each) for each in ("push", "freeze", "unfreeze", "revoke", "unrevoke", "promote")] == [
        3,
        1,
        1,
        1,
        1,
        2,
    ]


def test_pages_of_any_size_have_each_event_once_and_in_order(lived):
    whole = [entry.to_dict() for entry in lived.lines.log("crew/chat", limit=200).items]

    for limit in (1, 3, 7):
        paged, cursor = [], None
        while True:
            page = lived.lines.log("crew/chat", limit=limit, cursor=cursor)
            paged += [entry.to_dict() for entry in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert paged == whole
    assert [entry["at"] for entry in whole] == sorted((entry["at"] for entry in whole), reverse=True)


def test_a_channel_has_its_own_events(lived):
    entries = told(lived.lines.log("crew/chat", channel="early", limit=200).items)

    assert ("rename", "early", "from team/lora@canary to team/lora@early") in entries
    assert {kind for kind, *_ in entries} <= {"create", "rename"}


def test_a_name_that_another_line_has_now_tells_nothing_of_that_one(lived):
    lived.lines.free("crew/lora")
    lived.push(DELTAS / "lora_rslora", "crew/lora", base="tinyllama", golden=False)
    lived.versions.label("crew/lora:v1", {"secret": "1"})

    mine, theirs = (told(lived.lines.log(line, limit=200).items) for line in ("crew/chat", "crew/lora"))

    assert not [entry for entry in mine if "secret" in entry[2]]
    assert ("label", "v1", "old taken away") not in theirs
    assert ("label", "v1", "secret=1") in theirs


def test_clients_of_the_release_before_get_what_they_have_words_for(lived, registry_server):
    http = registry_server.http(registry_server.token("read"))
    items = http.get("/deltas/crew/chat/log", params={"limit": 200}).json()["items"]

    assert {item["event"] for item in items} <= {
        "push",
        "verdict",
        "promote",
        "freeze",
        "unfreeze",
        "revoke",
        "unrevoke",
    }
