"""Real deltas, made by the libraries: recognised, accounted for, folded as they merge."""

import numpy as np
import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.examine import examine
from deltareg.delta.fold import FoldedBase
from deltareg.errors import Refused
from tests import corpus
from tests.folders import open_folder

# The corpus' own words for kinds -> ours; None where its word covers several.
WORDS = {
    "bottleneck-parallel": "bottleneck",
    "bottleneck-phm": "bottleneck",
    "full-subset": None,
    "lora-variant": None,
    "other-peft": None,
    "sparse": None,
    "task-vector": "task_vector",
    "visual-adapter-conv": "visual_adapter",
}
BY_OPENING = {"pickle", "code_file", "link"}  # refused before a kind sees anything
NOT_YET = "no kind for it is written yet"

pytestmark = pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)


def deltas(*expected):
    return [d for d in corpus.manifest()["deltas"] if d["expect_lint"] in expected]


def identifiers(entries):
    return [entry["id"] for entry in entries]


def assessed(folder, base):
    view_, weights = base
    kind, _ = recognise(folder.files, view_)
    found = account(kind.parse(folder.files, view_), folder.files, folder.tensors, view_)
    more = examine(found, folder.tensors, weights, folder.files) if found.is_accepted else []
    return found, [*found.problems, *more]


ACCEPTED = deltas("accept", "accept_or_refuse_by_name")
REFUSED = deltas("refuse")


@pytest.mark.parametrize("delta", ACCEPTED, ids=identifiers(ACCEPTED))
def test_a_real_delta_folds_into_what_its_library_merged(delta):
    base = corpus.base(delta["base"])
    folder = open_folder(corpus.CORPUS / delta["path"])

    if opened(delta) == ["unknown_kind"]:
        pytest.skip(NOT_YET)
    found, problems = assessed(folder, base)

    word = delta["registry_kind"].split("+")[0]
    assert problems == []
    assert found.delta.name == (WORDS.get(word, word) or found.delta.name)
    assert found.delta.foldable == delta["mergeable"]
    assert found.roles.keys() == folder.files.names
    if found.delta.foldable and delta.get("expected") and not delta.get("oracle_conflict"):
        assert_folds(delta, FoldedBase(found.effects, base[1]))


@pytest.mark.parametrize("delta", REFUSED, ids=identifiers(REFUSED))
def test_what_cannot_be_read_is_refused(delta):
    assert opened(delta) != []


def assert_folds(delta, folding):
    tolerance = max((delta.get("tolerance") or {}).get("weights_atol", 0), 1e-6)
    for name, want in corpus.merged(delta).items():
        got = corpus.folded(folding, name)
        assert got.shape == want.shape
        assert np.max(np.abs(got - want), initial=0) <= tolerance


def must(bad):
    return bad["must"].partition(":")[2]


def uploads():
    return [bad for bad in corpus.manifest()["bad"] if must(bad) not in BY_OPENING]


@pytest.mark.parametrize("bad", uploads(), ids=identifiers(uploads()))
def test_a_hostile_upload_gets_its_code(bad):
    found = opened(bad)

    accepted = bad["stage"] == "verify" or bad["must"].startswith("accept")
    assert found == ([] if accepted else [must(bad)])


def opened(upload):
    """Give the distinct error codes that an upload gets."""
    try:
        folder = open_folder(corpus.CORPUS / upload["path"])
        _, problems = assessed(folder, corpus.base(upload["base"]))
    except Refused as refused:
        problems = refused.problems
    return list(dict.fromkeys(p.code for p in problems if p.severity == "error"))
