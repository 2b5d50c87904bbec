"""The CI files without a stored secret: a job pushes, asks the gate and promotes by what its CI says of it."""

import pytest

from tests.deploy import test_ci, test_ci_promote
from tests.exchange.issuer import GitHub, Issuer, documented
from tests.fixtures.registries import SCOPES, running

pytestmark = pytest.mark.slow


@pytest.fixture
def issuer():
    found = Issuer()
    yield found
    found.close()


@pytest.fixture
def server(sqlite_url, tmp_path, local_stock, issuer):
    """Run a registry that asks the issuer, in which `team/lora:v1` has passed."""
    store = (tmp_path / "blobs").as_uri()
    with running(sqlite_url, store, tmp_path, stock=local_stock, issuers=(issuer.url,)) as found:
        found.line("lora")
        yield found


def trust(server, issuer, **wanted):
    """Make a trust in the documented repository."""
    ids = {"source_id": "74", "owner_id": "65"}
    with server.client((*SCOPES, "admin")) as owner:
        asked = {"namespace": "team", "scopes": ["push"], "issuer": issuer.url} | ids | wanted
        return owner.trusts.add(asked.pop("provider", "github"), **asked)


def test_a_job_asks_the_gate_and_promotes_and_the_ledger_names_it(server, issuer, tmp_path):
    trust(server, issuer)
    trust(server, issuer, scopes=["promote"], environment="prod", principal="deployer")
    gate, move = test_ci.Job(tmp_path, server.url, ""), test_ci_promote.Job(tmp_path, server.url, "")

    with GitHub(issuer, environment=None) as tests, GitHub(issuer) as production:
        gate._environ |= tests.environ
        asked = gate.github(ref="team/lora", channel="staging")
        move._environ |= production.environ
        moved = move.github(ref="team/lora:v1", channel="staging")
    with server.client() as reader:
        (entry,) = reader.channels.history("team/lora", "staging").items
        trail = reader.audit.list(action="channel.promote", limit=1).items

    assert (asked.returncode, moved.returncode) == (0, 0), (asked.stderr, moved.stderr)
    assert (entry.actor, entry.via) == ("deployer", "github octo-org/octo-repo train.yml@main run 6213")
    assert [row.via for row in trail] == [entry.via]
    assert "asked by ci-team via github octo-org/octo-repo train.yml@main run 6213" in asked.stdout.replace("\n", " ")


@pytest.mark.soak
def test_a_job_of_gitlab_does_too(server, issuer, tmp_path):
    host = issuer.url.removeprefix("http://")
    config = f"{host}/my-group/my-project//.gitlab-ci.yml@refs/heads/main"
    ids = {"source_id": "20", "owner_id": "72"}
    trust(server, issuer, provider="gitlab", scopes=["push", "promote"], workflow=".gitlab-ci.yml", **ids)
    gate, move = test_ci.Job(tmp_path, server.url, ""), test_ci_promote.Job(tmp_path, server.url, "")

    given = {
        name: issuer.sign(documented("gitlab", aud=server.url, ci_config_ref_uri=config))
        for name in ("DELTAREG_ID_TOKEN", *(f"DELTAREG_ID_TOKEN_{number}" for number in (2, 3, 4)))
    }
    gate._environ |= given
    asked, job = gate.gitlab(ref="team/lora", channel="staging")
    moved, dotenv, promotion = move.gitlab(ref="team/lora:v1", channel="staging")
    move._environ |= given  # of which the gate has used some
    again, dotenv, _ = move.gitlab(ref="team/lora:v1", channel="staging")

    assert {name: fields["aud"] for name, fields in job["id_tokens"].items()} == dict.fromkeys(given, server.url)
    assert promotion["id_tokens"] == job["id_tokens"]
    assert (asked.returncode, moved.returncode, again.returncode) == (0, 4, 0), (asked.stdout, again.stderr)
    assert dotenv["PROMOTED"] == "true"
    assert "my-group/my-project" in asked.stdout


@pytest.mark.soak
def test_a_job_that_no_trust_accepts_is_told_why(server, issuer, tmp_path):
    trust(server, issuer, environment="prod")
    gate = test_ci.Job(tmp_path, server.url, "")

    with GitHub(issuer, environment="dev") as github:
        gate._environ |= github.environ
        asked = gate.github(ref="team/lora", channel="staging")

    assert asked.returncode == 4
    assert "the trust is for the environment prod, and this job is in 'dev'" in asked.stdout.replace("\n       ", " ")
