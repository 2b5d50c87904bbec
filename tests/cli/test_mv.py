"""`deltareg mv`: what is a line, a channel or a namespace, and what each may be called."""

from tests.cli.steps import done, push


def test_a_name_says_what_is_renamed(user):
    push(user, "lora", "--no-golden")

    assert done(user, "mv", "me/chat@staging", "@canary")["name"] == "me/chat@canary"
    assert done(user, "mv", "me/chat@canary", "me/chat@beta")["name"] == "me/chat@beta"
    moved = done(user, "mv", "me/chat", "me/other")
    assert (moved["name"], moved["before"]) == ("me/other", "me/chat")
    assert "has that name already" in user("mv", "me/other", "me/other").out
    assert done(user, "mv", "me", "home")["name"] == "home"
    assert user("show", "me/chat", "--quiet").out == user("show", "home/other", "--quiet").out


def test_slips_say_what_to_write(user):
    push(user, "lora", "--no-golden")

    assert "whose number stays" in user("mv", "me/chat:v1", "me/chat:v2").err
    assert "deltareg mv me/chat NS/other" in user("mv", "me/chat", "other").err
    assert "is a namespace" in user("mv", "me", "me/chat").err
    assert "stays on its line" in user("mv", "me/chat@dev", "me/other@dev").err
    assert user("mv", "me/chat@dev", "prod").status == 5
    assert user("mv", "me/absent", "me/x").status == 3
    assert user("mv", "me", "shared").status == 2
