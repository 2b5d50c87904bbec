"""Storage in the browser: what a collection would free and when, and the forms of a version."""

import pytest

from tests.pages.conftest import DELTAS, browser, word_of

LINE = "/ui/deltas/team/lora"


@pytest.fixture(scope="module")
def deleted(desk):
    """Delete a version that a channel may be rolled back to, what it was made from, and another."""
    maker = desk.client(principal="maker")
    maker.push(DELTAS / "lora", "team/gone", base="tinyllama")
    maker.push(DELTAS / "lora_v2", "team/gone", base="tinyllama", parents=["team/gone:v1"])
    maker.push(DELTAS / "lora_qv", "team/gone", base="tinyllama", parents=[])
    for ref in ("team/gone:v2", "team/gone:v3"):
        desk.verified(ref)
        maker.promote(ref, "dev")
    maker.push(DELTAS / "lora_bf16", "team/gone", base="tinyllama", parents=[])
    for number in (2, 1, 4):
        maker.versions.delete(f"team/gone:v{number}")
    return desk


def waiting(pages):
    found = pages.get("/ui/storage/plan?format=json").json()["waiting"]
    return {each["ref"].rpartition(":")[2]: each for each in found}


def figures(pages, path):
    return pages.get(path).raise_for_status().json()["report"]["total"]


def test_a_plan_says_what_would_go_and_when(deleted, pages):
    plan = pages.get("/ui/storage/plan?format=json").json()
    shown = pages.get("/ui/storage/plan").text
    asked = deleted.http(deleted.admin_token).get("/gc/plans").json()
    waits = waiting(pages)

    assert plan["now"] == asked
    assert list(waits) == ["v2", "v1", "v4"]
    assert not any(each["is_due"] for each in waits.values())
    assert waits["v4"]["goes_at"] > waits["v4"]["since"]
    assert waits["v2"]["goes_at"] == ""
    assert "can be restored until its grace is over" in shown
    assert "may be rolled back to it" in shown
    assert "deltareg gc plan" in shown


def test_what_is_due_is_what_a_collection_frees(deleted, pages):
    server = deleted.app.state.server
    server.upload_grace_s = server.keep_deleted_s = 0.0
    try:
        waits = waiting(pages)
        planned = pages.get("/ui/storage/plan?format=json").json()["now"]
    finally:
        server.upload_grace_s, server.keep_deleted_s = 86_400.0, 7 * 86_400.0
    freed = deleted.http(deleted.admin_token).post("/gc/runs", params={"grace_s": 0}).json()
    left = waiting(pages)

    assert {name: each["is_due"] for name, each in waits.items()} == {"v1": False, "v2": False, "v4": True}
    assert "made from it" in waits["v1"]["why"]
    assert waits["v1"]["goes_at"] == ""
    assert freed["bytes"] == planned["bytes"] > 0
    assert list(left) == ["v2", "v1"]


def test_figures_are_of_this_moment(deleted, pages):
    before = figures(pages, "/ui/storage?format=json")
    deleted.client(principal="maker").push(DELTAS / "lora_qv", "team/later", base="tinyllama", parents=[])

    now = figures(pages, "/ui/storage?format=json")
    of_line = figures(pages, "/ui/storage?of=team/later&format=json")
    asked = deleted.http(deleted.admin_token).get("/stats/storage").json()["total"]

    assert now["versions"] == before["versions"] + 1
    assert now == asked
    assert of_line["versions"] == 1


def test_who_is_no_admin_sees_no_plan_and_no_way_there(deleted):
    with browser(deleted, deleted.token("read", principal="reader-3")) as reader:
        assert reader.get("/ui/storage/plan").status_code == 403
        assert "/ui/storage/plan" not in reader.get("/ui/storage").text


def test_forms_are_listed_and_gone_back_to_by_who_may(deleted, pages):
    shown = pages.get(f"{LINE}/v3/storage?format=json").json()
    word = word_of(pages)
    none = pages.post(f"{LINE}/v3/revert", data={"word": word, "form": "77"})
    with browser(deleted, deleted.token("read", principal="reader-4")) as reader:
        denied = reader.post(f"{LINE}/v3/revert", data={"word": word_of(reader), "form": "1"})

    assert [form["state"] for form in shown["history"]["forms"]] == ["served"]
    figures = pages.get("/ui/storage?of=team/lora:v3&format=json").json()["report"]["total"]
    assert figures["logical_bytes"] > figures["pack_bytes"] > 0
    assert figures["versions"] == 1
    assert (none.status_code, denied.status_code) == (404, 403)
    assert "no former form 77" in none.text
