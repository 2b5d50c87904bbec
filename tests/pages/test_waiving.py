"""A failed check is waived from its verdict's page, by the rules that the registry has."""

import pytest

from deltareg.wire import LeaseRequest
from tests.fixtures.registries import report
from tests.pages.conftest import browser, word_of

LINE = "/ui/deltas/team/lora"
CHECK = "deterministic"


@pytest.fixture(scope="module")
def failed(desk):
    """Give a verdict that failed what may be waived, and browsers of the uploader and another."""
    verdict = desk.verified("team/lora:v1", verdict="fail", fail=CHECK, again=True)
    maker = desk.token("read", "push", "promote", principal="maker")
    other = desk.token("read", "promote", principal="olga")
    with browser(desk, maker) as first, browser(desk, other) as second:
        yield verdict, first, second


def cut_off(desk, ref, check):
    """Judge a version by a worker that ends at a check which fails."""
    run = desk.client(("read", "push"), principal="asker").verify(ref, again=True)
    worker = desk.client(("read", "verify"), principal="worker", kind="wrk")
    while True:
        grant = worker.lease(LeaseRequest(worker="scripted"))
        told = report(grant) if grant.run != run.id else report(grant, verdict="fail", fail=check)
        names = [one.name for one in told.checks]
        if grant.run == run.id:
            behind = names.index(check)
            told.checks[behind + 1 :] = [
                one.model_copy(update={"verdict": "skipped"}) for one in told.checks[behind + 1 :]
            ]
            return worker.complete_run(grant.run, told)
        worker.complete_run(grant.run, told)


def act(client, verdict, **form):
    path = f"/ui/verdicts/{verdict.id}/act"
    return client.post(path, data={"word": word_of(client), "days": "30", **form})


def unmet(client):
    gate = client.get(f"{LINE}/v1/gate?channel=dev&format=json").json()["gate"]
    return [rule["rule"] for rule in gate["unmet"]]


def test_who_pushed_it_is_told_that_somebody_else_has_to(failed):
    verdict, maker, _ = failed
    shown = maker.get(f"/ui/verdicts/{verdict.id}/waive")
    done = act(maker, verdict, act="waive", check=CHECK, channel="dev", reason="it is mine")

    assert "Not by you" in shown.text
    assert "cannot waive its checks" in shown.text
    assert 'name="act" value="waive"' not in shown.text
    assert done.status_code == 403


def test_somebody_else_waives_and_ends_it(failed):
    verdict, _, olga = failed
    listed = olga.get(f"{LINE}/v1/verdicts")
    assert f'/ui/verdicts/{verdict.id}/waive?check={CHECK}"' in listed.text
    page = olga.get(f"/ui/verdicts/{verdict.id}/waive?check={CHECK}&channel=dev&format=json")
    page = page.json()
    assert (page["check"], page["channel"], page["look"]["why_not"]) == (CHECK, "dev", "")
    assert unmet(olga) == ["failed"]

    assert act(olga, verdict, act="waive", check=CHECK, channel="dev").status_code == 422
    given = act(olga, verdict, act="waive", check=CHECK, channel="dev", reason="a known flake")

    assert given.status_code == 303
    assert given.headers["Location"] == f"{LINE}/v1/verdicts#{verdict.id}"
    assert unmet(olga) == []
    again = act(olga, verdict, act="waive", check=CHECK, channel="dev", reason="again")
    assert again.status_code == 409
    assert "a known flake" in olga.get(f"/ui/verdicts/{verdict.id}/waive").text
    assert "a known flake" in olga.get(f"/ui/runs/{verdict.run}").text

    assert act(olga, verdict, act="end", check=CHECK, channel="dev").status_code == 303
    assert unmet(olga) == ["failed"]


def test_what_is_never_waived_says_so(desk, failed):
    _, _, olga = failed
    (newest,) = desk.client(("read",), principal="looker").verdicts.list("team/lora:v3").items[:1]
    page = olga.get(f"/ui/verdicts/{newest.id}/waive")
    done = act(olga, newest, act="waive", check="effect", channel="dev", reason="let it be")

    assert "effect is never waived" in page.text
    assert "Nothing can be waived" in page.text
    assert done.status_code == 422


def test_what_a_waiver_leads_to_is_said_and_run(desk, failed):
    _, _, olga = failed
    verdict = cut_off(desk, "team/lora:v2", "norm_ratio")
    page = olga.get(f"/ui/verdicts/{verdict.id}/waive?format=json").json()["look"]

    given = act(olga, verdict, act="waive", check="norm_ratio", channel="dev", reason="known")
    after = olga.get(f"/ui/verdicts/{verdict.id}/waive")
    shown = olga.get(f"/ui/verdicts/{verdict.id}/waive?format=json").json()["look"]

    assert page["left_out"]
    assert given.status_code == 303
    run = shown["verdict"]["continuation"]
    assert f"/ui/runs/{run}" in after.text
    assert olga.get(f"/ui/runs/{run}?format=json").json()["run"]["state"] == "queued"
    desk.client().runs.cancel(run)
    owed = olga.get(f"/ui/verdicts/{verdict.id}/waive")
    assert "Run what was left out" in owed.text
    assert act(olga, verdict, act="continue").headers["Location"].startswith("/ui/runs/")


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"act": "nothing"},
        {"act": "waive", "check": CHECK, "channel": "dev", "days": "x"},
        {"act": "waive", "check": CHECK, "channel": "dev", "reason": "x", "until": "yesterday"},
        {"act": "waive", "check": CHECK, "channel": "dev", "reason": "x", "days": "9999"},
        {"act": "waive", "check": "<b>", "channel": "dev", "reason": "x"},
        {"act": "waive", "check": CHECK, "channel": "none", "reason": "x"},
        {"act": "continue"},
    ],
)
def test_a_form_that_is_none_of_ours_is_refused(failed, form):
    verdict, _, olga = failed

    assert act(olga, verdict, **form).status_code in {404, 409, 422}
