"""`deltareg label`, and what shows labels and looks for them."""

from tests.cli.steps import push


def test_labels_of_a_push_are_shown_and_changed(user):
    ref = push(user, "lora", "--label", "team=search", "--label", "reviewed")

    added = user("label", "add", ref, "tested=yes", "team=chat", "--json")
    taken = user("label", "rm", ref, "reviewed")

    assert added.json["labels"] == {"team": "chat", "reviewed": "", "tested": "yes"}
    assert "team=chat tested=yes" in taken.out
    assert "team=chat tested=yes" in user("show", ref).out
    assert "team=chat tested=yes" in user("ls", "me/chat").out
    assert user("show", ref, "--json").json["labels"] == {"team": "chat", "tested": "yes"}


def test_versions_and_lines_are_listed_by_label(user):
    ref = push(user, "lora", "--label", "team=search")

    assert user("ls", "me/chat", "--label", "team", "--quiet").out.split() == [ref]
    assert user("ls", "--label", "team=search", "--quiet").out.split() == ["me/chat"]
    assert user("ls", "--label", "team=other").out.strip() == "no line matches"
    assert user("ls", "me/chat", "--label", "team=x").out.strip() == "no version has these labels"
    assert user("ls", "me/chat", "--filter", "kind=lora").status == 2


def test_slips_say_what_to_write(user):
    ref = push(user)

    assert user("label", "add", ref, "=x").status == 2
    assert "no key of a label" in user("label", "add", ref, "a b=c").err
    assert f"deltareg label rm {ref} a" in user("label", "rm", ref, "a=b").err
    assert user("label", "add", "me/chat", "a").status == 2, "a line is no version"
    assert user("label", "rm", "me/chat:v9", "a").status == 3
