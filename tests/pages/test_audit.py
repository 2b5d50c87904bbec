"""The audit trail as a page: found by parts of words, told in words, each row with an address."""

import pytest

from deltareg.pages.changes import AuditChange, address_of, changes
from deltareg.service.events import Action

DIGEST = "sha256:" + "4f" * 32


def rows_of(client, **asked):
    return client.get("/ui/audit", params={**asked, "format": "json"}).json()["rows"]["items"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"action": "promot"}, {"channel.promote"}),
        ({"action": "CHANNEL", "subject": "Lora@PROD"}, {"channel.promote"}),
        ({"subject": "lora@prod", "actor": "mak"}, {"channel.promote"}),
        ({"action": "channel.promote"}, {"channel.promote"}),
        ({"action": "%"}, set()),
        ({"subject": "_ora@prod"}, set()),
    ],
)
def test_parts_of_words_are_enough(pages, asked, found):
    assert {row["action"] for row in rows_of(pages, **asked)} == found


def test_what_is_not_there_is_answered_with_what_may_be_asked(pages):
    shown = pages.get("/ui/audit?action=rollbak").text

    assert "Nothing in the trail has all of that" in shown
    assert 'href="?action=channel.rollback"' in shown
    assert all(f'<option value="{action}">' in shown for action in Action)


def test_a_row_has_an_address_that_it_is_found_at(pages):
    (row,) = rows_of(pages, action="channel.promote", subject="team/lora@prod")[-1:]
    shown = pages.get(f"/ui/audit?row={row['id']}").text

    assert rows_of(pages, row=row["id"])[0]["id"] == row["id"]
    assert f'href="?row={row["id"]}#{row["id"]}"' in shown
    assert f'<tr id="{row["id"]}">' in shown
    assert 'href="/ui/deltas/team/lora/channels/prod"' in shown
    assert "{&#39;" not in shown
    assert "None" not in shown
    assert pages.get("/ui/audit?row=x").status_code == 422


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, {"revision": 3, "revoked_at": None, "text": "", "list": []}, [AuditChange("revision", "", "3")]),
        ({"policy": {"approvals": 1}}, {"policy": {"approvals": 2}}, [AuditChange("policy approvals", "1", "2")]),
        ({"name": "a", "of": "x"}, {"name": "b", "of": "x"}, [AuditChange("name", "a", "b")]),
        ({"agent": "host-1"}, None, [AuditChange("agent", "host-1", "")]),
        (
            None,
            {"is_local": False, "rights": ["read", "push"], "digest": DIGEST},
            [
                AuditChange("is local", "", "no"),
                AuditChange("rights", "", "read, push"),
                AuditChange("digest", "", DIGEST[:19]),
            ],
        ),
        (None, [{"suite": "deep", "max_age": "9d"}], [AuditChange("it", "", "suite deep, max_age 9d")]),
        (None, None, []),
    ],
)
def test_a_change_is_told_in_words(before, after, told):
    assert changes(before, after) == told


@pytest.mark.parametrize(
    ("subject", "address"),
    [
        ("team/x:v3", "/ui/deltas/team/x/v3"),
        ("team/x@prod", "/ui/deltas/team/x/channels/prod"),
        ("team/x@prod/request/7", "/ui/requests/7"),
        ("base/llama", "/ui/bases/llama"),
        ("token/4", "/ui/tokens#t4"),
        ("session/4", ""),
        ("member/*/ana", ""),
        ("", ""),
        ("base/<b>", "/ui/bases/%3Cb%3E"),
    ],
)
def test_a_subject_leads_to_its_page(subject, address):
    assert address_of(subject) == address
