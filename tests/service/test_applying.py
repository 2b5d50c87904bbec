"""Access as a document: what differs is made, what is pruned is taken away, all of it or nothing."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound
from deltareg.service.access import applying, organisation
from deltareg.service.quotas import quotas
from deltareg.wire import AccessApply, AccessDocument
from tests.service.test_grants import Place

WHOLE: dict[str, Any] = {
    "services": {"ci-train": {"owner": "ml"}},
    "groups": {"ml": {"members": ["ana", "ben", "ci-train"]}, "ops": {"source": "okta"}},
    "roles": {"releaser": ["promote", "approve"]},
    "everywhere": {"root": ["admin", "break-glass"], "ops": ["reader"]},
    "namespaces": {
        "team": {
            "visibility": "private",
            "roles": {"trainer": ["push"]},
            "members": {"ana": ["owner"], "ml": ["trainer", "promoter chat-*@dev", "releaser *@prod"]},
        }
    },
}


@pytest.fixture
def place(engine):
    return Place(engine)


def apply(place, document=WHOLE, *, by=None, **options):
    request = AccessApply(document=AccessDocument.model_validate(document), **options)
    return applying.apply_access(place.registry, by or place.root, request)


def with_changed(path, value):
    """Return the document with one value set, or left out if it is None."""
    document = AccessDocument.model_validate(WHOLE).model_dump(exclude_none=True)
    at = document
    for key in path[:-1]:
        at = at[key]
    if value is None:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return document


def changed(plan):
    return [(one.kind, one.of, one.action) for one in plan.changes]


def state(place):
    return organisation.export_access(place.registry, place.root)


def audited(place):
    with read(place.registry.engine) as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(t.audit)).scalar_one()


def test_a_document_is_planned_applied_once_and_comes_back_as_it_is(place):
    planned = apply(place, dry_run=True)
    empty = state(place).namespaces
    made = apply(place)
    rows = audited(place)
    again = apply(place, prune=True)
    back = apply(place, state(place).model_dump(exclude_none=True), prune=True)

    assert empty == {}
    assert changed(planned) == changed(made)
    assert ("person", "ben", "create") in changed(made)
    assert (again.changes, again.kept, back.changes, back.kept) == ([], [], [], [])
    assert audited(place) == rows


def test_the_order_of_a_document_is_nothing(place):
    turned = {key: WHOLE[key] for key in reversed(WHOLE)}
    turned["groups"] = dict(reversed(WHOLE["groups"].items()))

    apply(place, turned)

    assert apply(place, prune=True).changes == []


def test_what_is_left_out_is_kept_until_it_is_pruned(place):
    apply(place)
    leaver = with_changed(["groups", "ml", "members"], ["ana", "ci-train"])
    kept = apply(place, leaver)
    pruned = apply(place, leaver, prune=True)

    assert (kept.changes, [one.command for one in kept.kept]) == ([], ["deltareg group rm ml ben"])
    assert changed(pruned) == [("group", "ml", "replace")]
    assert state(place).groups["ml"].members == ["ana", "ci-train"]


def test_a_key_that_a_document_lacks_is_left_alone(place):
    apply(place)

    plan = apply(place, {"namespaces": {"team": {"visibility": "private"}}}, prune=True)

    assert (plan.changes, plan.kept) == ([], [])


def test_ownership_is_handed_over_and_never_lost(place):
    apply(place)
    to_ben = with_changed(["namespaces", "team", "members"], {"ben": ["owner"]})
    nobody = with_changed(["namespaces", "team", "members"], {"ana": ["reader"]})

    assert ("member", "ana in team", "remove") in changed(apply(place, to_ben, prune=True))
    before = state(place)
    with pytest.raises(Conflict, match="ben is the last owner of team"):
        apply(place, nobody, prune=True)
    assert state(place) == before


def test_what_the_caller_holds_is_never_pruned(place):
    """Itself, by a group that it is in, and by a role of its own: each is told with its command."""
    apply(place, with_changed(["groups", "admins"], {"members": ["root"]}))
    apply(place, with_changed(["everywhere"], {"root": ["admin"], "admins": ["releaser"]}))

    plan = apply(
        place, {"groups": {"ml": WHOLE["groups"]["ml"]}, "everywhere": {}, "roles": {}}, prune=True, dry_run=True
    )

    own = {one.command for one in plan.kept if one.is_own}
    assert own == {
        "deltareg group rm admins",
        "deltareg member rm --everywhere root --role admin",
        "deltareg member rm --everywhere root --role break-glass",
        "deltareg member rm --everywhere admins --role releaser",
        "deltareg role rm releaser",
    }


def test_nobody_gives_themselves_rights_by_a_document(place):
    apply(place)
    ana = place.caller("ana", "read", "push", "admin")
    cases = {
        "an admin": {"everywhere": {"ana": ["admin"]}},
        "a group": {"groups": {"ml": {"members": ["ana", "eve"]}}},
        "a role": {"roles": {"releaser": ["promote", "push"]}},
        "the glass": {"namespaces": {"team": {"members": {"ana": ["owner", "break-glass"]}}}},
        "a role with it": {"namespaces": {"team": {"roles": {"trainer": ["break-glass"]}}}},
        "a namespace": {"namespaces": {"other": {"visibility": "private", "members": {"ana": ["owner"]}}}},
    }
    before = state(place)

    for document in cases.values():
        with pytest.raises(Forbidden):
            apply(place, document, by=ana)
    assert state(place) == before
    assert not apply(place, cases["the glass"], by=ana, dry_run=True).is_checked


def test_an_owner_applies_a_document_of_a_namespace_alone(place):
    apply(place)
    ana = place.caller("ana", "read", "push", "admin")

    plan = apply(place, {"namespaces": {"team": {"members": {"ana": ["owner"], "ben": ["pusher"]}}}}, by=ana)

    assert changed(plan) == [("member", "ben in team", "create")]
    assert [one.of.partition(": ")[2] for one in plan.kept] == ["promoter chat-*@dev", "releaser *@prod", "trainer"]


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (["groups", "ops", "members"], ["ana"], "okta says who is in it"),
        (["namespaces", "team", "members", "ana"], ["owner chat"], "owner is about all of a namespace"),
        (["namespaces", "team", "members", "ana"], ["owner  x y"], "no role is written"),
        (["namespaces", "team", "members", "ana"], ["emperor"], "there is no role 'emperor' in team"),
        (["roles", "owner"], ["push"], "owner is built in"),
        (["groups", "ci-train"], {"members": []}, "is a group and a service"),
    ],
)
def test_a_document_that_cannot_be_is_refused_and_changes_nothing(place, path, value, why):
    before = state(place)

    with pytest.raises(InvalidInput, match=why):
        apply(place, with_changed(path, value))

    assert state(place) == before


def test_of_documents_that_are_applied_at_once_each_is_whole(place):
    others = [with_changed(["groups", "ml", "members"], ["ana", f"p{number}"]) for number in range(4)]
    failed = []

    def run(document):
        try:
            apply(place, document, prune=True)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test says it
            failed.append(error)

    threads = [threading.Thread(target=run, args=(document,)) for document in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert state(place).groups["ml"].members in [["ana", f"p{number}"] for number in range(4)]


LIMITED: dict[str, Any] = {
    "quota": {
        "namespaces": {"bytes": 50_000_000_000, "minutes": 600},
        "people": {"uploads": 20},
        "principals": {"ana": {"bytes": None}, "ci-train": {"drafts": 0}},
    },
    "groups": {"ml": {"members": ["ana"]}},
    "services": {"ci-train": {"owner": "ml"}},
    "namespaces": {"team": {"members": {"ana": ["owner"]}, "quota": {"bytes": 200_000_000_000, "versions": 7}}},
}


def limits_at(place, name):
    return quotas.show_quota(place.registry, place.root, name).limits


def test_limits_come_with_the_rest_of_a_document_and_come_back_as_they_are(place):
    planned = apply(place, LIMITED, dry_run=True)
    before = limits_at(place, "*")
    made = apply(place, LIMITED)
    rows = audited(place)
    back = apply(place, state(place).model_dump(exclude_none=True), prune=True)

    assert (before, changed(planned)) == ({}, changed(made))
    assert [one for one in changed(made) if one[0] == "quota"] == [
        ("quota", "*", "create"),
        ("quota", "@*", "create"),
        ("quota", "@ana", "create"),
        ("quota", "@ci-train", "create"),
        ("quota", "team", "create"),
    ]
    assert next(one.after for one in made.changes if one.of == "*") == {"bytes": "50GB", "minutes": 600}
    assert limits_at(place, "team") == {"bytes": 200_000_000_000, "versions": 7}
    assert limits_at(place, "@ana") == {"bytes": None}
    assert (back.changes, back.kept, audited(place)) == ([], [], rows)


def test_a_limit_that_a_document_leaves_out_is_kept_until_it_is_pruned(place):
    apply(place, LIMITED)
    less = {
        "quota": {"people": {}, "principals": {"ana": {"bytes": None}}},
        "namespaces": {"team": {"quota": {"bytes": 1_000}}},
    }
    kept = apply(place, less)
    told = [one.command for one in kept.kept]
    held = limits_at(place, "team")
    pruned = apply(place, less, prune=True)

    assert told == [
        "deltareg quota set @ uploads=default",
        "deltareg quota set team versions=default",
        "deltareg quota set @ci-train drafts=default",
    ]
    assert held == {"bytes": 1_000, "versions": 7}
    assert changed(pruned) == [
        ("quota", "@*", "remove"),
        ("quota", "team", "replace"),
        ("quota", "@ci-train", "remove"),
    ]
    assert (limits_at(place, "team"), limits_at(place, "@ci-train")) == ({"bytes": 1_000}, {})
    assert limits_at(place, "*") == LIMITED["quota"]["namespaces"]


def test_who_owns_a_namespace_sets_no_limit_by_its_file(place):
    apply(place, LIMITED)
    ana = place.caller("ana", "admin", "read")
    same, more, none = (
        {"namespaces": {"team": {"quota": most}}}
        for most in (LIMITED["namespaces"]["team"]["quota"], {"bytes": None}, {})
    )
    planned = apply(place, more, by=ana, dry_run=True)

    assert apply(place, same, by=ana).changes == []
    assert (planned.is_checked, changed(planned)) == (False, [("quota", "team", "replace")])
    for document, options in ((more, {}), (none, {"prune": True}), ({"quota": {"people": {}}}, {"dry_run": True})):
        with pytest.raises(Forbidden):
            apply(place, document, by=ana, **options)
    assert limits_at(place, "team") == LIMITED["namespaces"]["team"]["quota"]


def test_a_limit_for_nobody_changes_nothing_at_all(place):
    with pytest.raises(NotFound, match="nobody called anna"):
        apply(place, {**LIMITED, "quota": {"principals": {"anna": {"bytes": 1}}}})

    assert state(place).namespaces == {}
