"""What others say, on the command line: brought signed or not, listed, shown, exported, taken back."""

import json

from tests.cli.steps import done, push
from tests.outside import measure
from tests.signed_deltas import key_files, public


def test_what_others_say_is_told_with_who_says_it(user):
    ref = push(user)
    key_files(user.home, "lab")
    digest = done(user, "show", ref)["digest"].removeprefix("sha256:")
    (user.home / "results.json").write_text(json.dumps({"results": {"mmlu": {"acc,none": 0.4, "acc_stderr,none": 1}}}))
    (user.home / "measured.json").write_bytes(measure("lab", [digest], mmlu__acc=0.7))

    said = done(user, "attest", "add", ref, "results.json")
    done(user, "attest", "add", ref, "measured.json", "--key", "lab.pub")
    bare = user("attest", "add", "me/chat", "results.json")
    listed, shown = user("attest", "ls", ref), user("show", ref, "-v")
    signed = f"key {public('lab').keyid[:12]}"

    assert (said["signed_by"], said["metrics"]) == ("", {"mmlu/acc": 0.4})
    assert (bare.status, "name one: me/chat:v3" in bare.err) == (2, True)
    for out in (listed.out, shown.out):
        assert all(words in out for words in ("mmlu/acc 0.4", "unsigned", "mmlu/acc 0.7", signed)), out
    (user.home / "p.yaml").write_text("smoke: false\nmetrics: [{name: mmlu/acc, at_least: 0.6, from: anyone}]\n")
    done(user, "channel", "policy", "set", "me/chat", "prod", "p.yaml")
    refused = user("gate", "check", ref, "--channel", "prod")
    assert (refused.status, "mmlu/acc of me/chat:v1 is 0.4, says" in refused.out + refused.err) == (8, True)
    withdrawn = done(user, "attest", "withdraw", ref, said["digest"][7:19], "-m", "wrong split")
    assert withdrawn["ignored"] == "withdrawn: wrong split"
    explained = user("channel", "policy", "explain", ref, "--channel", "prod").out
    assert "is 0.7, says" in " ".join(explained.split())
    user("attest", "export", ref, said["digest"], "--out", "again.json")
    assert (user.home / "again.json").read_text() == (user.home / "results.json").read_text()
