"""Who may do what: everybody once, with what they hold themselves, by groups and everywhere, and by which tokens."""

import csv
import io

import pytest

from deltareg.drawing.csv_rows import write_rows
from deltareg.errors import Forbidden, InvalidInput
from deltareg.service.access import people
from deltareg.service.access.explain import explain_access
from deltareg.service.access.holders import list_holders
from deltareg.service.authority.grants import Right
from deltareg.wire import HOLDER_HEADS, AccessHolder, holder_rows
from tests.service.test_applying import apply
from tests.service.test_grants import Place

WORLD = {
    "groups": {"ml": {"members": ["ben", "cem"]}, "ops": {"members": ["dee"]}},
    "services": {"ci-bot": {"owner": "ml"}},
    "everywhere": {"root": ["admin"], "ops": ["promoter"]},
    "namespaces": {
        "team": {
            "visibility": "private",
            "members": {"ana": ["owner"], "ml": ["pusher", "promoter chat-*@dev"], "ci-bot": ["pusher"]},
        },
        "den": {"visibility": "private", "members": {"eli": ["owner"]}},
    },
}


@pytest.fixture
def place(engine):
    made = Place(engine)
    apply(made, WORLD)
    return made


def listed(place, namespace=None, *, by=None, right=None):
    """List all, a page of two at a time."""
    found: list[AccessHolder] = []
    cursor = None
    while True:
        page = list_holders(place.registry, by or place.root, namespace, right=right, cursor=cursor, limit=2)
        found, cursor = [*found, *page.items], page.next_cursor
        if cursor is None:
            return {each.principal: each for each in found}


def roles(holder):
    return {(each.role, each.namespace, each.pattern, each.group) for each in holder.roles}


def test_everybody_is_told_once_with_all_that_they_hold(place):
    here, everywhere = listed(place, "team"), listed(place)

    assert list(here) == ["ana", "ben", "cem", "ci-bot", "dee", "root"]
    assert list(everywhere) == ["ana", "ben", "cem", "ci-bot", "dee", "eli", "root"]
    assert roles(here["ben"]) == {("pusher", "team", "", "ml"), ("promoter", "team", "chat-*@dev", "ml")}
    assert roles(here["dee"]) == {("promoter", None, "", "ops")}
    assert (here["ci-bot"].kind, here["ci-bot"].people) == ("service", ["ben", "cem"])


@pytest.mark.parametrize("right", [each for each in Right if each is not Right.READ])
def test_what_is_told_of_a_right_is_what_explaining_it_says(place, right):
    on = "team/chat-x@dev" if right in {Right.PROMOTE, Right.APPROVE} else "team"
    here = listed(place, "team", right=right.value)

    for who in ("ana", "ben", "cem", "ci-bot", "dee", "eli", "root"):
        explained = explain_access(place.registry, place.root, principal=who, action=right.value, ref=on)
        assert (who in here) == any(each.is_met and " token " not in each.what for each in explained.because), who


def test_an_owner_hears_of_their_namespace_alone(place):
    ana, eli, ben = (place.caller(who, "read", "admin") for who in ("ana", "eli", "ben"))
    wide = place.secret("ben", "read", namespaces=["den", "team"])
    place.secret("ben", "read", namespaces=["den"])
    tokens = listed(place, "team", by=ana)["ben"].tokens

    assert roles(listed(place, "team", by=ana)["dee"]) == {("promoter", None, "", "")}
    assert [each.namespaces for each in tokens] == [["team"], None]
    assert wide.startswith(tokens[0].display)
    assert len(listed(place)["ben"].tokens) == 3
    for who, name in ((ben, "team"), (eli, "team"), (eli, "nowhere"), (ana, "den"), (ana, None)):
        with pytest.raises(Forbidden):
            listed(place, name, by=who)


def test_who_is_disabled_may_nothing(place):
    place.secret("ben", "read")
    people.disable_person(place.registry, place.root, "ben")

    assert "ben" not in listed(place, "team")


def test_it_is_rows_for_a_spreadsheet(place):
    holders = listed(place, "team").values()

    rows = list(csv.DictReader(io.StringIO(write_rows([HOLDER_HEADS, *holder_rows(list(holders))]))))
    of_ben = [
        (one["right"], one["only"], one["role"], one["group"], one["given_by"])
        for one in rows
        if one["principal"] == "ben"
    ]

    assert of_ben == [
        ("push", "", "pusher", "ml", "root"),
        ("read", "", "pusher", "ml", "root"),
        ("promote", "chat-*@dev", "promoter", "ml", "root"),
        ("read", "chat-*@dev", "promoter", "ml", "root"),
    ]


def test_a_right_that_there_is_not_is_refused(place):
    with pytest.raises(InvalidInput, match="there is no right 'fly'"):
        listed(place, "team", right="fly")
