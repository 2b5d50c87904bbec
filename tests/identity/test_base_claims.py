"""What the files of a delta say about its base, and what contradicts what."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.identity.base_claims import (
    BaseClaim,
    ClaimedBases,
    find_contradiction,
    parse_documents,
    read_claims,
    split_revisions,
)

COMMIT = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"
CONFIG = {"adapter_config.json": {"base_model_name_or_path": "org/one", "revision": "v1"}}


def test_programs_come_before_the_card_and_the_config_comes_first():
    documents = CONFIG | {"config.json": {"_name_or_path": "org/two"}}
    card = b"---\nbase_model: [org/four]\ndeltareg: {base: five, trained_on: six}\n---\n# A card\n"

    said = read_claims(documents, card, [{"ss_sd_model_name": "org/three", "format": "pt"}])

    assert [claim.name for claim in said.claims] == ["org/one", "org/two", "org/three", "five", "org/four"]
    assert (said.first.where, said.first.revision) == ("adapter_config.json", "v1")
    assert (said.base, said.trained_on) == ("five", "six")


@pytest.mark.parametrize(
    "config",
    [{}, {"base_model_name_or_path": None}, {"base_model_name_or_path": ""}, {"base_model_name_or_path": ["a"]}],
)
def test_a_config_without_a_name_says_nothing(config):
    assert read_claims({"adapter_config.json": config}, b"").claims == ()


def test_several_bases_in_a_card_and_the_name_of_a_file_say_nothing():
    card = b"---\nbase_model: [org/a, org/b]\n---\n"

    assert read_claims({}, card, [{"ss_sd_model_name": "model.safetensors"}]).claims == ()


@given(st.binary(max_size=400))
def test_any_card_is_read_without_an_error(card):
    assert isinstance(read_claims({}, b"---\n" + card, []).claims, tuple)


def test_documents_that_are_none_are_left_out():
    raw = {"a.json": b'{"x": 1}', "b.json": b"{", "c.json": b"[1]", "d.json": b"[" * 100_000}

    assert parse_documents(raw) == {"a.json": {"x": 1}}


@pytest.mark.parametrize(
    ("name", "hub_id", "revision", "is_path"),
    [
        ("org/one", "org/one", "", False),
        ("org/one@v2", "org/one", "v2", False),
        ("org/one@main", "org/one", "", False),
        (f"/data/hub/models--org--one/snapshots/{COMMIT}/", "org/one", COMMIT, True),
        (rf"C:\hub\models--org--one\snapshots\{COMMIT}", "org/one", COMMIT, True),
        ("/data/one", "", "", True),
        ("./one", "", "", True),
        ("~/one", "", "", True),
        (r"D:\one", "", "", True),
        ("a/b/c", "", "", False),
    ],
)
def test_what_a_name_may_mean(name, hub_id, revision, is_path):
    claim = BaseClaim("adapter_config.json", name)

    assert (claim.hub_id, claim.hub_revision, claim.is_path) == (hub_id, revision, is_path)


@pytest.mark.parametrize(
    ("wanted", "exact", "others"),
    [
        ("", ["old", "new", "any"], []),
        ("main", ["old", "new", "any"], []),
        (COMMIT, ["old"], []),
        (COMMIT[:9], ["old"], []),
        ("v2", ["new"], []),
        ("v3", ["any"], []),
    ],
)
def test_a_revision_chooses_among_bases_of_one_id(wanted, exact, others):
    claim = BaseClaim("adapter_config.json", "org/one", wanted)

    found = split_revisions(claim, [("old", COMMIT), ("new", "v2"), ("any", "")])

    assert (list(found.bases), list(found.of_other_revisions)) == (exact, others)


def test_a_revision_that_is_not_here_leads_to_none_and_to_the_others_beside_it():
    found = split_revisions(BaseClaim("", "org/one", "v3"), [("old", COMMIT), ("new", "v2")])

    assert (list(found.bases), list(found.of_other_revisions)) == ([], ["old", "new"])


class Base(NamedTuple):
    """A base that has a name, as any has."""

    name: str


ONE, TWO = Base("one"), Base("two")
KNOWN = {"org/one": ClaimedBases([ONE]), "org/both": ClaimedBases([ONE, TWO]), "org/late": ClaimedBases((), [ONE])}


@pytest.mark.parametrize(
    ("names", "onto", "denies"),
    [
        (["org/one"], "one", False),
        (["org/one"], "two", True),
        (["org/both"], "two", False),
        (["org/late"], "one", True),
        (["nobody"], "two", False),
        (["nobody", "org/one"], "two", True),
        (["org/both", "org/one"], "two", False),
        ([], "two", False),
    ],
)
def test_the_first_claim_that_leads_anywhere_decides(names, onto, denies):
    claims = [BaseClaim("a file", name) for name in names]

    conflict = find_contradiction(
        claims, lambda claim: KNOWN.get(claim.name, ClaimedBases()), is_same=lambda base: base.name == onto
    )

    assert (conflict is not None) == denies
