"""What people see of pulls and of versions with the same tensors."""

import shutil

from tests.cli.steps import DELTAS, push


def test_show_says_in_a_line_who_pulled_a_version_last(user, tmp_path):
    ref = push(user)
    before = user("show", ref, "-v").out

    user("pull", ref, "--to", tmp_path / "pulled")

    assert "never yet" in before
    after = user("show", ref, "-v").out
    (line,) = [line for line in after.splitlines() if line.split()[:1] == ["pulled"]]
    assert line.split()[1] == "last"
    assert line.endswith(", 1 pull")
    pulls = user("show", ref, "--json").json["pulls"]
    assert (pulls["pulls"], pulls["pullers"]) == (1, 1)
    assert pulls["by"][0]["principal"] in line


def test_a_push_says_in_a_line_what_has_the_same_weights(user, tmp_path):
    ref = push(user)
    copy = shutil.copytree(DELTAS / "lora", tmp_path / "copy")
    (copy / "README.md").write_text("# by another name\n")

    told = user("push", copy, "me/copy", "--base", "tinyllama")
    quiet = user("push", copy, "me/copy", "--base", "tinyllama", "--json")

    assert f"the same tensors as {ref}\n" in told.err
    assert quiet.json["alike"] == [], "it is there already"
