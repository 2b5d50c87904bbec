"""Upkeep in the browser: an operation in each of its states."""

import pytest

from deltareg.words import OPERATION_NAMES

PAGE = "/ui/storage/upkeep"
AS_SET = {"off": {"every_s": 0}, "paused": {"paused": True}, "waiting": {"every_s": 86_400, "paused": False}}


@pytest.mark.parametrize("state", AS_SET)
def test_an_operation_is_shown_in_each_of_its_states(desk, pages, state):
    admin = desk.http(desk.admin_token)
    for name in OPERATION_NAMES:
        admin.patch(f"/operations/{name}", json=AS_SET[state]).raise_for_status()

    shown = pages.get(PAGE)

    assert shown.status_code == 200
    assert shown.text.count(f"</svg>{state}</span>") == len(OPERATION_NAMES)
