"""What an assertion is exchanged for: a token of the trust's account, once, within what is held now."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.db.sql.clock import now_us
from deltareg.errors import Forbidden, Unauthenticated
from deltareg.refs import LineRef
from deltareg.service.access import audit, making, members, tokens
from deltareg.service.access.exchange import trusts
from deltareg.service.access.exchange.exchange import LASTS_S
from deltareg.service.authority.grants import Right
from deltareg.service.authority.resources import Channel, Namespace
from deltareg.wire import TokenCreate
from tests.exchange.conftest import ID_TOKEN
from tests.exchange.issuer import P256_ORDER, b64, documented, ec_key, jwk, rsa_key, sign_es256

TEAM = Namespace("team")


def test_a_workflow_gets_a_token_for_what_its_trust_says(team):
    trust = team.trust(environment="prod", workflow="train.yml", ref="main", note="octo-org/octo-repo")

    answer = team.exchange(team.issuer.sign(documented("github")))

    given = answer.json()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert {key: given[key] for key in ("token_type", "expires_in", "scope", "principal", "namespace", "trust")} == {
        "token_type": "Bearer",
        "expires_in": LASTS_S,
        "scope": "read push",
        "principal": "ci-team",
        "namespace": "team",
        "trust": trust.id,
    }
    caller = team.of(given["access_token"])
    assert caller.may(Right.PUSH, on=TEAM)
    assert not caller.may(Right.PROMOTE, on=Channel(LineRef("team", "x"), "prod"))
    assert not caller.may(Right.PUSH, on=Namespace("other"))
    who = tokens.whoami(team.registry, caller)
    assert (who.principal, who.kind, who.namespaces) == ("ci-team", "ci", ["team"])


def test_a_pipeline_of_gitlab_gets_one(team):
    host = team.issuer.url.removeprefix("http://")
    team.trust(provider="gitlab", ref="main", environment="test-environment2", workflow=".gitlab-ci.yml")
    config = f"{host}/my-group/my-project//.gitlab-ci.yml@refs/heads/main"

    answer = team.exchange(team.issuer.sign(documented("gitlab", ci_config_ref_uri=config)))

    assert (answer.status_code, answer.json()["principal"]) == (200, "ci-team")


def test_whoever_an_issuer_vouches_for_gets_one(small_team):
    small_team.trust(provider="oidc", claims={"organization_id": 7, "pipeline_id": "p-1", "is_fork": False})
    claims = documented("github") | {"organization_id": 7, "pipeline_id": "p-1", "is_fork": False}

    given = small_team.exchange(small_team.issuer.sign(claims))
    others = [{"organization_id": "7"}, {"is_fork": 0}, {"pipeline_id": "P-1"}, {"organization_id": 7.0}]
    refused = [small_team.exchange(small_team.issuer.sign(claims | change)).status_code for change in others]

    assert given.status_code == 200
    assert refused == [400] * 4


def test_the_trail_names_the_workflow(team):
    team.trust()
    given = team.exchange(team.issuer.sign(documented("github"))).json()

    asked = audit.AuditQuery(actor="ci-team", action="token.exchange")
    rows = audit.list_audit(team.registry, team.root, asked, cursor=None, limit=5)

    assert [row.via for row in rows.items] == ["github octo-org/octo-repo train.yml@main run 6213"]
    assert given["access_token"] not in json.dumps(rows.model_dump())


def test_a_replay_by_fifty_threads_mints_once(team):
    team.trust()
    assertion = team.issuer.sign(documented("github"))
    start = threading.Barrier(50)

    def try_it(_number):
        start.wait()
        return team.exchange(assertion)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(try_it, range(50)))

    minted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer.json() for answer in answers if answer.status_code != 200]
    assert len(minted) == 1
    assert {each["error"] for each in refused} == {"invalid_grant"}
    with read(team.registry.engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).where(t.tokens.c.trust_id.is_not(None))).scalar_one() == 1


def test_without_a_jti_the_signed_text_counts_and_not_its_spelling(small_team):
    small_team.trust()
    once = small_team.issuer.sign(
        documented("github", jti=None), header={"alg": "ES256", "kid": "curve"}, key=ec_key(), sign=sign_es256
    )
    signed, _, signature = once.rpartition(".")
    raw = _unb64(signature)
    twin = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:])).to_bytes(32)

    answers = [small_team.exchange(text) for text in (once, f"{signed}.{b64(twin)}", once)]

    assert [answer.status_code for answer in answers] == [200, 400, 400]
    assert {answer.json()["error"] for answer in answers[1:]} == {"invalid_grant"}


def test_it_ends_with_its_time_its_trust_its_role_and_its_maker(team):
    trust = team.trust(scopes=["push", "promote"])

    def given(**changed):
        return team.exchange(team.issuer.sign(documented("github")), **changed)

    first = given().json()["access_token"]
    with write(team.registry.engine) as conn:
        conn.execute(sa.update(t.tokens).where(t.tokens.c.trust_id.is_not(None)).values(expires_at=now_us()))
    with pytest.raises(Unauthenticated):
        team.of(first)
    second = given().json()["access_token"]
    role = next(row for row in _members(team) if (row.principal, row.role) == ("ci-team", "promoter"))
    members.end_member(team.registry, team.root, role.id)
    assert not team.of(second).may(Right.PROMOTE, on=Channel(LineRef("team", "x"), "prod"))
    assert given().json()["scope"] == "read push"
    assert given(scope="promote").json()["error"] == "invalid_scope"
    team.member("root", "owner")
    own = next(row for row in _members(team) if row.principal == "olga")
    members.end_member(team.registry, team.root, own.id)
    lost = given()
    assert (lost.status_code, lost.json()["error"]) == (400, "invalid_scope")
    team.member("olga", "owner")
    last = given().json()["access_token"]
    trusts.end_trust(team.registry, team.root, trust.id)
    with pytest.raises(Unauthenticated):
        team.of(last)
    assert given().status_code == 400


@pytest.mark.parametrize("who", ["olga", "ci-team"])
def test_who_is_disabled_answers_for_nothing(small_team, who):
    small_team.trust()
    with write(small_team.registry.engine) as conn:
        conn.execute(sa.update(t.principals).where(t.principals.c.name == who).values(disabled_at=now_us()))

    answer = small_team.exchange(small_team.issuer.sign(documented("github")))

    assert answer.status_code == 400
    assert f"{who} was disabled" in answer.json()["detail"]


def test_of_two_trusts_the_one_that_says_more_counts(small_team):
    wide = small_team.trust()
    narrow = small_team.trust(scopes=["promote"], environment="prod", principal="ci-prod")
    sign = small_team.issuer.sign

    chosen = small_team.exchange(sign(documented("github"))).json()
    elsewhere = small_team.exchange(sign(documented("github", environment="dev"))).json()
    asked = small_team.exchange(sign(documented("github")), scope="push").json()
    named = small_team.exchange(sign(documented("github")), trust=wide.id).json()
    small_team.trust(principal="ci-other")
    unclear = small_team.exchange(sign(documented("github")), scope="push").json()

    assert [each["trust"] for each in (chosen, elsewhere, asked, named)] == [narrow.id, wide.id, wide.id, wide.id]
    assert "DELTAREG_TRUST" in unclear["fix"]


def test_keys_are_rotated_without_a_restart_and_old_ones_end(small_team):
    small_team.trust()
    sign, issuer = small_team.issuer.sign, small_team.issuer
    assert small_team.exchange(sign(documented("github"))).status_code == 200

    issuer.keys = [jwk(rsa_key(1), "two")]
    small_team.now += 11
    new = small_team.exchange(sign(documented("github"), header={"kid": "two"}, key=rsa_key(1)))
    old = small_team.exchange(sign(documented("github")))

    assert (new.status_code, old.status_code) == (200, 400)
    before = len(issuer.requests)
    for number in range(20):  # nobody makes the server ask its issuer at will
        small_team.exchange(sign(documented("github"), header={"kid": f"none-{number}"}))
    assert len(issuer.requests) - before <= 2


def test_while_its_issuer_is_down_known_keys_count_for_an_hour(small_team):
    small_team.trust()
    sign, issuer = small_team.issuer.sign, small_team.issuer
    assert small_team.exchange(sign(documented("github"))).status_code == 200

    issuer.status = 500
    small_team.now += 1200
    soon = small_team.exchange(sign(documented("github")))
    small_team.now += 3600
    later = small_team.exchange(sign(documented("github")))
    issuer.status = 200
    small_team.now += 11
    again = small_team.exchange(sign(documented("github")))

    assert [soon.status_code, later.status_code, again.status_code] == [200, 503, 200]
    assert "answers 500" in later.json()["detail"]
    assert later.json()["retryable"]


WRONG_DOCUMENTS = [
    ({"issuer": "https://token.actions.githubusercontent.com"}, "another issuer"),
    ({"jwks_uri": "http://169.254.169.254/latest"}, "https alone"),
    ({"jwks_uri": "https://169.254.169.254/latest"}, "open Internet"),
    ({"jwks_uri": "https://10.0.0.1/keys"}, "open Internet"),
    ({"jwks_uri": "https://[::ffff:10.0.0.1]/keys"}, "open Internet"),
    ({"jwks_uri": "file:///etc/passwd"}, "no address"),
    ({"jwks_uri": 7}, "does not say"),
]


def test_an_issuer_does_not_send_the_server_elsewhere(small_team):
    small_team.trust()

    for document, why in WRONG_DOCUMENTS:
        small_team.issuer.discovery = document
        small_team.now += 11
        answer = small_team.exchange(small_team.issuer.sign(documented("github")))

        assert answer.status_code == 503
        assert why in answer.json()["detail"]


def test_no_redirect_is_followed_and_nobody_else_is_asked(small_team):
    small_team.trust()
    small_team.issuer.status = 302

    moved = small_team.exchange(small_team.issuer.sign(documented("github")))
    asked = list(small_team.issuer.requests)
    foreign = small_team.issuer.sign(documented("github", iss="http://127.0.0.1:9"))
    unknown = small_team.exchange(foreign)

    assert moved.status_code == 503
    assert asked == ["/.well-known/openid-configuration"]
    assert (unknown.status_code, unknown.json()["error"]) == (400, "invalid_request")


WRONG_FORMS: list[tuple[dict[str, str | None], str]] = [
    ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
    ({"grant_type": None}, "unsupported_grant_type"),
    ({"subject_token": None}, "invalid_request"),
    ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
    ({"requested_token_type": ID_TOKEN}, "invalid_request"),
    ({"actor_token": "x"}, "invalid_request"),
    ({"scope": "root"}, "invalid_scope"),
    ({"scope": "admin"}, "invalid_request"),
    ({"trust": "1 or 1"}, "invalid_request"),
    ({"trust": "99"}, "invalid_request"),
]


def test_a_form_that_is_wrong_is_refused_by_the_standards_words(small_team):
    small_team.trust()

    answers = [small_team.exchange(small_team.issuer.sign(documented("github")), **form) for form, _ in WRONG_FORMS]

    problems = [answer.json() for answer in answers]
    assert [problem["error"] for problem in problems] == [error for _, error in WRONG_FORMS]
    assert {(answer.status_code, answer.headers["content-type"]) for answer in answers} == {
        (400, "application/problem+json")
    }
    assert all(problem["error_description"] and problem["code"] == "assertion_refused" for problem in problems)


def test_what_is_no_form_is_refused(small_team):
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    bodies = (b"", b"{}", b"a=1&a=2", b"a" * 40_000, b"grant_type=%ff", b"\xff=1")

    answers = [
        small_team.http.post("/api/v1/tokens:exchange", content=body, headers=headers)
        for body in bodies
        for headers in (kind, {})
    ]

    assert {answer.status_code for answer in answers} == {400}


def test_an_exchanged_token_makes_no_token_and_no_trust(small_team):
    small_team.trust(scopes=["push", "promote", "serve"])
    caller = small_team.of(small_team.exchange(small_team.issuer.sign(documented("github"))).json()["access_token"])

    with pytest.raises(Forbidden):
        small_team.trust(by=caller)
    with pytest.raises(Forbidden):
        making.create_token(small_team.registry, caller, TokenCreate(principal="eve"))


def _members(team):
    return members.list_members(team.registry, team.root, "team", cursor=None, limit=50).items


def _unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
