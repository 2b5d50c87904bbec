"""The cards of versions: read at the push or later, shown, written, and refusing nothing."""

import shutil

import pytest
import sqlalchemy as sa
from huggingface_hub import ModelCard

from deltareg.db import tables as t
from deltareg.db.session import read, write
from deltareg.errors import InvalidInput, NotFound
from deltareg.service.upkeep.unread_cards import read_some_cards
from tests.cli.steps import DELTAS

CARD = """\
---
license: apache-2.0
tags: [summaries, news]
deltareg: {owner: search}
model-index:
- name: x
  results:
  - task: {type: text-generation}
    dataset: {name: News, type: news}
    metrics:
    - {type: Accuracy, value: 0.93}
---
# Summaries of news

Short ones.
"""


def folder_with(tmp_path, text, *, name="card"):
    """Copy the sample LoRA with a README.md; what it says makes it another version."""
    folder = tmp_path / name
    shutil.copytree(DELTAS / "lora", folder)
    (folder / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.fixture
def client(local_registry):
    """Push one version without a card."""
    return local_registry.line("lora")


def push(client, tmp_path, text, **more):
    return client.push(folder_with(tmp_path, text), "team/lora", base="tinyllama", **more).version


def test_a_card_is_read_at_the_push(client, tmp_path):
    version = push(client, tmp_path, CARD)

    card = client.versions.card(version.ref)

    assert card is not None
    assert (card.ref, card.title, card.summary) == (version.ref, "Summaries of news", "Short ones.")
    assert (card.license, card.tags) == ("apache-2.0", ["summaries", "news"])
    assert [(m.name, m.value, m.dataset) for m in card.metrics] == [("Accuracy", 0.93, "News")]
    assert card.text == ""
    assert client.versions.card(version.ref, text=True).text == CARD
    assert client.versions.card("team/lora:v1") is None


def test_no_card_refuses_a_push(client, tmp_path):
    odd = push(client, tmp_path, "---\nlicense: &a mit\ntags: *a\n---\n# T\n\x1b[31m\n")
    huge = "---\nlicense: mit\n---\n# T\n" + "word " * 300_000
    large = push(client, tmp_path / "large", huge)

    card = client.versions.card(odd.ref)
    unread = client.versions.card(large.ref, text=True)

    assert card.title == "T"
    assert "an alias" in card.problems[0]
    assert (unread.title, unread.text) == ("", "")
    assert "at most" in unread.problems[0]
    assert (client.pull(large.ref).path / "README.md").read_text() == huge


def test_what_nobody_has_read_is_read_in_the_background(registry_server, tmp_path):
    client = registry_server.line("lora")
    version = push(client, tmp_path, CARD, labels={"tested": "yes"})
    engine = registry_server.registry.engine

    def kept():
        with read(engine) as conn:
            return [
                sorted(conn.execute(sa.select(*table.c)).all(), key=repr)
                for table in (t.search_terms, t.version_metrics)
            ]

    before = kept()
    assert all(before)
    with write(engine) as conn:
        for table in (t.cards, t.search_terms, t.version_metrics):
            conn.execute(sa.delete(table))
    assert client.versions.card(version.ref).title == "Summaries of news", "read where it is asked"
    assert client.versions.search("summaries").items == []

    assert read_some_cards(registry_server.registry) == 2
    assert read_some_cards(registry_server.registry) == 0

    assert kept() == before
    assert [hit.ref for hit in client.versions.search("summaries").items] == [version.ref]
    registry = registry_server.registry
    with write(registry.engine) as conn:
        conn.execute(sa.delete(t.cards))
        keys = conn.execute(sa.select(t.packs.c.physical_key)).scalars().all()
    for key in keys:
        registry.store.delete(key)

    assert read_some_cards(registry) == 2
    assert read_some_cards(registry) == 0
    assert "could not be read" in client.versions.card(version.ref).problems[0]


def test_a_card_is_written_with_what_the_registry_knows(client, local_registry, tmp_path):
    version = push(client, tmp_path, CARD, parents=["team/lora:v1"])
    local_registry.verified(version.ref)
    before = client.pull(version.ref, tmp_path / "pulled")

    text = client.versions.write_card(version.ref)

    data = ModelCard(text).data.to_dict()
    base = client.show(version.ref).base
    own = data["deltareg"]
    assert (own["ref"], own["digest"], own["kind"]) == (version.ref, version.digest, "lora")
    assert (own["base"], own["base_identity"]) == ("tinyllama", base.identity)
    assert (own["verdict"], own["parents"]) == ("pass", ["team/lora:v1"])
    assert own["owner"] == "search", "what its author wrote stays"
    assert (data["license"], data["tags"]) == ("apache-2.0", ["summaries", "news"])
    assert "# Summaries of news\n\nShort ones.\n" in text
    assert "| made from | `team/lora:v1` |" in text
    assert client.pull(version.ref, tmp_path / "pulled").digest == before.digest
    assert client.show(version.ref).digest == version.digest


def test_written_twice_it_is_the_same_and_pushed_it_is_a_card(client, tmp_path):
    text = client.versions.write_card(push(client, tmp_path, CARD).ref)
    again = push(client, tmp_path / "again", text)

    twice = client.versions.write_card(again.ref)

    assert client.versions.card(again.ref).problems == []
    assert twice.count("## In the registry") == 1
    assert ModelCard(twice).data.to_dict()["deltareg"]["ref"] == again.ref


def test_one_without_a_card_gets_one_and_a_broken_one_is_left(client, tmp_path):
    broken = push(client, tmp_path, "---\na: b: c\n---\n# T\n")

    text = client.versions.write_card("team/lora:v1")

    assert text.startswith("---\n")
    assert "# team/lora\n" in text
    assert ModelCard(text).data.to_dict()["deltareg"]["base"] == "tinyllama"
    with pytest.raises(InvalidInput, match="cannot be written back") as refused:
        client.versions.write_card(broken.ref)
    assert "fix its front matter" in refused.value.fix
    with pytest.raises(NotFound):
        client.versions.card("team/lora:v9")
