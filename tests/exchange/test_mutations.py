"""Nothing but what a trust accepts is exchanged, however near it is; and that is, when it is whole."""

from tests.exchange.issuer import documented
from tests.exchange.mutations import GITHUB, GITLAB, header, of_gitlab, payload, text


def test_no_mutated_assertion_of_github_is_exchanged(small_team):
    small_team.trust(environment="prod", ref="main", workflow="train.yml")

    refused = {name: small_team.exchange(mutate(small_team.issuer)) for name, mutate in GITHUB.items()}
    controls = [documented("github"), documented("github", jti=None), documented("github", nbf=None)]
    good = [small_team.exchange(small_team.issuer.sign(each)) for each in controls]
    good += [small_team.exchange(whole(small_team.issuer)) for whole in (payload(str), text(str), header(typ=None))]

    assert len(GITHUB) >= 60
    assert {name: answer.status_code for name, answer in refused.items() if answer.status_code != 400} == {}
    assert {answer.json()["code"] for answer in refused.values()} == {"assertion_refused"}
    assert [answer.status_code for answer in good] == [200] * 6


def test_nor_one_of_gitlab(small_team):
    small_team.trust(provider="gitlab", environment="test-environment2", workflow=".gitlab-ci.yml")

    refused = {name: small_team.exchange(mutate(small_team.issuer)) for name, mutate in GITLAB.items()}
    good = small_team.exchange(of_gitlab()(small_team.issuer))

    assert {name: answer.status_code for name, answer in refused.items() if answer.status_code != 400} == {}
    assert good.status_code == 200


def test_strangers_learn_nothing_of_a_trust(small_team):
    small_team.trust(environment="prod", ref="main", workflow="train.yml")
    sign = small_team.issuer.sign

    own = small_team.exchange(sign(documented("github", environment="dev"))).json()
    foreign = small_team.exchange(sign(documented("github", environment="dev", repository_id="75"))).json()

    assert "environment prod" in own["detail"]
    assert not {"prod", "main", "train", "team", "74"} & set(foreign["detail"].replace(".", " ").split())
