"""Mirrors of a part of a registry: what its versions stand on outside of that part comes along, or is named."""

import json

import pytest

from deltareg.client import Client, ClientConfig
from deltareg.wire import TokenCreate
from tests.fixtures.registries import SAMPLES

DELTAS = SAMPLES / "deltas" / "tinyllama"
SFT, ON_SFT, CHILD = "lab/sft:v1", "team/chat:v1", "team/child:v1"


@pytest.fixture
def stacked(two):
    """Give two clients; in one registry, `team/chat` stands on a version of another namespace."""
    here, there = (server.client() for server in two)
    here.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    here.push(DELTAS / "full", "lab/sft", base="tinyllama", golden=False)
    here.push(DELTAS / "lora", "team/chat", base=SFT, golden=False)
    return here, there


@pytest.fixture
def derived(two):
    """Give two clients; in one registry, `team/child` has a parent in another line."""
    here, there = (server.client() for server in two)
    here.bases.push(SAMPLES / "bases" / "tinyllama", "tinyllama")
    here.push(DELTAS / "lora", "team/other", base="tinyllama", golden=False)
    here.push(DELTAS / "lora_v2", "team/child", base="tinyllama", parents=["team/other:v1"], golden=False)
    return here, there


def bring(way, here, there, folder, scope):
    """Bring a scope from here to there, by a bundle or over HTTP."""
    if way == "bundle":
        saved = here.mirrors.save(folder / "bundle", scope)
        report = there.mirrors.load(folder / "bundle")
        report.left += saved.left
        return report
    return there.mirrors.bring(here.mirrors.source(scope))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def are_equal(here, there, ref):
    assert there.show(ref).digest == here.show(ref).digest
    return contents(here.pull(ref).path) == contents(there.pull(ref).path)


@pytest.mark.parametrize("way", ["bundle", "http"])
def test_what_a_version_stands_on_comes_along(way, stacked, tmp_path):
    here, there = stacked

    report = bring(way, here, there, tmp_path, ["team"])

    assert report.left == []
    assert sorted(report.brought) == [SFT, ON_SFT]
    assert there.show(ON_SFT).stack == here.show(ON_SFT).stack
    assert all(are_equal(here, there, ref) for ref in (SFT, ON_SFT))


@pytest.mark.parametrize("way", ["bundle", "http"])
def test_a_parent_of_another_line_comes_along(way, derived, tmp_path):
    here, there = derived

    report = bring(way, here, there, tmp_path, ["team/child"])

    assert report.left == []
    assert there.show(CHILD).parents == ["team/other:v1"]
    assert are_equal(here, there, CHILD)


@pytest.mark.parametrize("way", ["bundle", "http"])
def test_a_parent_that_was_deleted_at_the_target_is_named(way, derived, tmp_path):
    here, there = derived
    parent = here.show("team/other:v1")
    there.mirrors.bring(here.mirrors.source(["team/other"]))
    there.versions.delete(parent.ref)

    report = bring(way, here, there, tmp_path, ["team/child"])

    assert report.brought == []
    assert report.left[0] == (
        f"{CHILD}: it stands on {parent.ref} ({parent.digest}), which did not come: it was deleted here"
    )


@pytest.mark.parametrize("way", ["bundle", "http"])
def test_a_revoked_foundation_is_named_and_keeps_nothing_else(way, stacked, tmp_path):
    here, there = stacked
    here.push(DELTAS / "lora_v2", "team/plain", base="tinyllama", golden=False)
    here.versions.revoke(SFT, reason="poisoned data", even_if_served=True)

    report = bring(way, here, there, tmp_path, ["team"])

    assert report.brought == ["team/plain:v1"]
    assert any(text.startswith(f"{ON_SFT}: ") and SFT in text and "revoked" in text for text in report.left)


@pytest.mark.parametrize("way", ["bundle", "http"])
def test_what_the_token_may_not_read_is_named(way, stacked, tmp_path):
    here, there = stacked
    asked = {"principal": "ada", "kind": "pat", "scopes": ["read"], "namespaces": ["team"]}
    token = here.tokens.create(TokenCreate.model_validate(asked)).token

    with Client(ClientConfig(server=here.config.server, token=token, cache_dir=tmp_path / "cache")) as reader:
        report = bring(way, reader, there, tmp_path, ["team"])

    assert report.brought == []
    assert [text for text in report.left if text.startswith(f"{ON_SFT}: its base") and "does not show" in text]


def test_a_bundle_whose_foundation_is_gone_says_which(derived, tmp_path):
    here, there = derived
    parent = here.show("team/other:v1")
    here.mirrors.save(tmp_path / "bundle", ["team/child"])
    at = tmp_path / "bundle" / "bundle.json"
    document = json.loads(at.read_bytes())
    del document["lines"]["team/other"]
    at.write_text(json.dumps(document))

    report = there.mirrors.load(tmp_path / "bundle")

    (left,) = report.left
    assert f"it was made from {parent.digest}, which {here.config.server} does not show" in left
    there.mirrors.bring(here.mirrors.source(["team/other"]))
    assert there.mirrors.load(tmp_path / "bundle").brought == [CHILD]


def test_a_bundle_that_is_saved_again_without_the_part_still_loads(stacked, tmp_path):
    here, there = stacked
    here.mirrors.save(tmp_path / "bundle", ["team"])
    here.push(DELTAS / "lora_v2", "team/chat", base=SFT, golden=False)

    here.mirrors.save(tmp_path / "bundle", ["team"])

    assert sorted(there.mirrors.load(tmp_path / "bundle").brought) == [SFT, ON_SFT, "team/chat:v2"]
