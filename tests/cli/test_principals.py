"""Principals and the renewal of tokens on the command line."""


def test_a_script_is_made_for_somebody_shown_handed_over_and_disabled(user):
    for name in ("bo", "cy"):
        assert user("token", "create", "--for", name, "-q").status == 0
    made = user("token", "create", "--for", "bot", "--kind", "ci", "--acts-for", "bo", "--json").json
    shown = user("principal", "show", "bot")
    given = user("principal", "give", "bot", "--to", "cy", "--json").json
    planned = user("principal", "disable", "cy", "--dry-run", "--json").json
    gone = user("principal", "disable", "cy")
    listed = user("principal", "ls", "--json").json["items"]

    assert made["people"] == ["bo"]
    assert "service account" in shown.out
    assert (given["acts_for"], given["tokens"], planned["disabled_at"]) == ("cy", [], None)
    assert "deltareg principal give bot --to NAME" in gone.out
    assert {item["name"] for item in listed if item["disabled_at"]} == {"cy"}


def test_a_token_that_is_not_kept_here_is_renewed_and_shown(user, monkeypatch):
    monkeypatch.setenv("DELTAREG_TOKEN", user.server.token("read", "push", principal="ana", expires_in_s=86_400))

    new = user("token", "renew", "--scope", "read", "-q")

    assert new.status == 0, new.err
    assert new.out.startswith("drg_")
