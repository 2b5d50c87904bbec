"""`deltareg card`, `search` and `pull --card` on the command line."""

import pytest
from huggingface_hub import ModelCard

from tests.cli.steps import done, push, push_base
from tests.service.test_cards import CARD, folder_with


@pytest.fixture
def carded(user, tmp_path):
    """Give a user whose line me/chat has v1 with a card."""
    push_base(user)
    folder = folder_with(tmp_path, CARD)
    done(user, "push", folder, "me/chat", "--base", "tinyllama", "-m", "first")
    return user


def test_a_card_is_shown(carded):
    shown, whole = carded("card", "show", "me/chat"), carded("show", "me/chat:v1")

    assert "Summaries of news" in shown.out
    assert "0.93" in shown.out
    assert "apache-2.0" in whole.out
    assert carded("card", "show", "me/chat", "--json").json["tags"] == ["summaries", "news"]
    assert carded("show", "me/chat", "--json").json["card"]["title"] == "Summaries of news"


def test_a_version_without_one_has_none(user):
    ref = push(user)

    assert user("card", "show", ref).status == 3
    assert user("show", ref, "--json").json["card"] is None


def test_a_card_is_written_beside_and_never_into_the_folder(carded, tmp_path):
    to = tmp_path / "pulled"
    refused = carded("pull", "me/chat:v1", "--to", to, "--card", to / "README.md")
    pulled = carded("pull", "me/chat:v1", "--to", to, "--card", tmp_path / "card.md")
    written = carded("card", "write", "me/chat", tmp_path / "again.md", "--json")
    piped = carded("card", "write", "me/chat")

    assert refused.status == 2
    assert "would then be another delta" in refused.err
    assert not (to / "README.md.1").exists()
    assert pulled.status == 0, pulled.err
    assert (to / "README.md").read_text() == CARD
    text = (tmp_path / "card.md").read_text()
    assert ModelCard(text).data.to_dict()["deltareg"]["ref"] == "me/chat:v1"
    assert (tmp_path / "again.md").read_text() == text == piped.out
    assert written.json["path"] == str(tmp_path / "again.md")
    assert carded("update", to, "--to", ":v1").status == 0, "nothing in it changed"
    assert carded("card", "write", "me/chat", tmp_path / "none" / "x.md").status == 2


def test_search_finds_and_helps(carded):
    found = carded("search", "summaries", "--metric", "accuracy>=0.9", "--kind", "lora")
    scripted = carded("search", "summ*", "--base", "tinyllama", "--json")
    nothing = carded("search", "absent")
    slip = carded("search", "--base", "tinylama")

    assert "me/chat:v1" in found.out
    assert "accuracy 0.93 (card)" in found.out
    assert [hit["ref"] for hit in scripted.json["items"]] == ["me/chat:v1"]
    assert carded("search", "--in", "me", "-q").out.split() == ["me/chat:v1"]
    assert nothing.status == 0
    assert "nothing is found" in nothing.out
    assert slip.status == 3
    assert "did you mean tinyllama" in slip.err
    assert "did you mean lora" in carded("search", "--kind", "lorra").err
