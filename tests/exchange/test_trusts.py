"""Who may make a trust, what it may bind, and what it says of itself."""

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read
from deltareg.errors import Conflict, Forbidden, InvalidInput, NotFound
from deltareg.service.access import members, namespaces, roles
from deltareg.service.access.exchange import trusts
from deltareg.service.names.namespaces import rename_namespace
from deltareg.wire import NamespaceCreate, Rename, RoleSet
from tests.exchange.issuer import documented

WRONG = {
    "no number": {"source_id": ""},
    "a name in place of a number": {"source_id": "octo-repo"},
    "a wildcard in place of a number": {"source_id": "*"},
    "no owner": {"owner_id": ""},
    "every branch and tag": {"ref": "refs/*"},
    "a star inside a ref": {"ref": "refs/heads/*/x"},
    "every environment": {"environment": "*"},
    "every workflow": {"workflow": "*.yml"},
    "a workflow elsewhere without its ref": {"workflow": "org/repo/.github/workflows/x.yml"},
    "claims of another provider": {"claims": {"a_id": "1"}},
    "a scope to give on": {"scopes": ["admin"]},
    "a scope to approve": {"scopes": ["push", "approve"]},
    "a scope to verify": {"scopes": ["verify"]},
    "a scope to break the glass": {"scopes": ["break-glass"]},
    "an issuer that nobody listed": {"issuer": "https://issuer.example"},
    "an issuer with a slash": {"issuer": "/"},
    "an account that is a person": {"principal": "olga"},
    "no claim": {"provider": "oidc", "claims": {}},
    "sub alone": {"provider": "oidc", "claims": {"sub": "repo:o/r:ref:refs/heads/main"}},
    "names alone": {"provider": "oidc", "claims": {"sub": "x", "repository": "o/r"}},
    "a wildcard": {"provider": "oidc", "claims": {"project_id": "*"}},
    "a wildcard inside": {"provider": "oidc", "claims": {"project_id": "1", "ref": "refs/heads/*"}},
    "an empty claim": {"provider": "oidc", "claims": {"project_id": ""}},
    "what every assertion has": {"provider": "oidc", "claims": {"project_id": "1", "iss": "x"}},
    "the id of an assertion": {"provider": "oidc", "claims": {"jti": "1"}},
    "too much": {"provider": "oidc", "claims": {"project_id": "x" * 5000}},
    "options of another provider": {"provider": "oidc", "claims": {"project_id": "1"}, "ref": "main"},
}


def test_a_trust_that_binds_nothing_for_good_is_not_made(small_team):
    made = [what for what, wrong in WRONG.items() if not _is_refused(small_team, wrong)]

    assert made == []
    with read(small_team.registry.engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(t.trusts)).scalar_one() == 0


def test_an_account_that_holds_a_role_of_ones_own_may_be_trusted(small_team):
    small_team.trust()
    wanted = RoleSet(name="mover", namespace="team", rights=["promote"])
    roles.set_role(small_team.registry, small_team.olga, wanted)
    small_team.member("ci-team", "mover")

    small_team.trust(ref="main", scopes=["promote"])

    held = members.list_members(small_team.registry, small_team.olga, "team", cursor=None, limit=50).items
    assert sorted(row.role for row in held if row.principal == "ci-team") == ["mover", "pusher"]


def test_it_says_in_one_sentence_what_it_accepts(small_team):
    plain = small_team.trust(note="octo-org/octo-repo")
    narrow = small_team.trust(ref="main", environment="prod", workflow="train.yml", scopes=["promote"])
    other = small_team.trust(provider="oidc", claims={"sub": "x", "pipeline_id": 7}, note="Buildkite")

    assert plain.accepts == (
        "GitHub repository 74 of owner 65 (octo-org/octo-repo when the trust was made) on any branch or tag"
        " may read and push in team, as ci-team"
    )
    assert narrow.accepts == (
        "GitHub repository 74 of owner 65 by train.yml on refs/heads/main in environment prod"
        " may read and promote in team, as ci-team"
    )
    assert other.accepts == "what Buildkite says of sub = x and pipeline_id = 7 may read and push in team, as ci-team"


def test_owners_make_trusts_within_what_they_hold_and_nobody_else(small_team):
    people = {name: small_team.person(name) for name in ("mara", "fred")}
    small_team.member("mara", "maintainer")
    people["mara"] = small_team.of(small_team.secret("mara"))
    pushing = small_team.of(small_team.secret("olga", "read", "push"))

    for caller in (*people.values(), pushing):
        with pytest.raises(Forbidden):
            small_team.trust(by=caller)
        with pytest.raises((Forbidden, NotFound)):
            trusts.list_trusts(small_team.registry, caller, "team", cursor=None, limit=9)
    made = small_team.trust()
    with pytest.raises(NotFound):
        trusts.end_trust(small_team.registry, people["fred"], made.id)
    with pytest.raises(Forbidden):
        trusts.end_trust(small_team.registry, people["mara"], made.id)
    assert [row.id for row in _listed(small_team)] == [made.id]


def test_nobody_speaks_for_an_account_that_somebody_else_stands_behind(small_team):
    small_team.trust(principal="ci-shared")
    eve = small_team.person("eve")
    namespaces.create_namespace(small_team.registry, eve, NamespaceCreate(name="evil"))
    eve = small_team.of(small_team.secret("eve"))

    with pytest.raises(Forbidden, match="somebody else stands behind"):
        small_team.trust(by=eve, namespace="evil", principal="ci-shared")

    small_team.trust(by=eve, namespace="evil", principal="ci-evil")
    small_team.trust(principal="ci-shared", scopes=["promote"])


def test_the_account_gets_the_least_roles_and_its_maker_stands_behind_it(small_team):
    small_team.trust(scopes=["push", "promote"])
    small_team.trust(scopes=["push"])

    rows = members.list_members(small_team.registry, small_team.root, "team", cursor=None, limit=50).items

    held = [(row.role, row.person) for row in rows if row.principal == "ci-team"]
    assert sorted(held) == [("promoter", "olga"), ("pusher", "olga")]


def test_what_it_has_by_a_role_of_ones_own_it_does_not_lack(small_team):
    rights = RoleSet(name="shipper", namespace="team", rights=["promote"])
    roles.set_role(small_team.registry, small_team.root, rights)
    small_team.trust(scopes=["push"])
    small_team.member("ci-team", "shipper")

    small_team.trust(scopes=["push", "promote"], note="again")

    rows = members.list_members(small_team.registry, small_team.root, "team", cursor=None, limit=50).items
    assert sorted(row.role for row in rows if row.principal == "ci-team") == ["pusher", "shipper"]


def test_pull_requests_are_for_a_trust_that_names_them(small_team):
    pulled = documented("github", event_name="pull_request", ref="refs/pull/5/merge")
    small_team.trust()
    refused = small_team.exchange(small_team.issuer.sign(pulled))

    small_team.trust(ref="refs/pull/*", principal="ci-pulls")
    given = small_team.exchange(small_team.issuer.sign(pulled))

    assert (refused.status_code, given.status_code) == (400, 200)
    assert "neither a branch nor a tag" in refused.json()["detail"]


def test_a_namespace_has_so_many_trusts_and_no_more(small_team, monkeypatch):
    monkeypatch.setattr(trusts, "MOST", 3)
    for number in range(trusts.MOST):
        small_team.trust(ref=f"release-{number}")

    with pytest.raises(Conflict, match="has 3 trusts"):
        small_team.trust()


def test_a_renamed_namespace_keeps_its_trusts(small_team):
    small_team.trust()
    rename_namespace(small_team.registry, small_team.root, "team", Rename(to="crew"))

    given = small_team.exchange(small_team.issuer.sign(documented("github"))).json()

    assert (given["namespace"], given["principal"]) == ("crew", "ci-team")


def _is_refused(team, wrong):
    try:
        team.trust(**wrong)
    except (InvalidInput, Conflict):
        return True
    return False


def _listed(team):
    return trusts.list_trusts(team.registry, team.olga, "team", cursor=None, limit=9).items


def test_a_trust_that_is_there_is_not_made_again(team):
    first = team.trust()
    again = team.trust()
    narrower = team.trust(ref="main")
    team.person("otto")
    team.member("otto", "owner")

    assert again.id == first.id
    assert narrower.id != first.id
    with pytest.raises(Conflict, match=f"trust {first.id} of olga accepts the same"):
        team.trust(by=team.of(team.secret("otto")))


def test_an_account_may_hold_a_role_of_its_owners_own(team):
    roles.set_role(team.registry, team.olga, RoleSet(name="trainer", namespace="team", rights=["push"]))
    team.trust()
    team.member("ci-team", "trainer")

    assert sorted(team.trust(ref="main", scopes=["promote"]).scopes) == ["promote", "read"]
