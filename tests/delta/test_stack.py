"""What a version folds to, held against headers and digests, over every kind of real delta."""

import shutil

import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.fold.fold_folder import fold_folder
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.client.folders.hashing import hash_folder
from deltareg.delta.base_manifest import base_view
from deltareg.delta.delta_manifest import assess, build_delta_manifest
from deltareg.delta.shapes import header_tensors
from deltareg.delta.stack import MAX_DEPTH, Stacking, check_stackable
from deltareg.errors import Blocked, InvalidInput, Refused
from tests import corpus
from tests.verify.bench import SAMPLES, sample_base

REAL = [
    delta
    for delta in corpus.manifest()["deltas"]
    if delta["expect_lint"] == "accept" and delta["mergeable"]
    if delta["base"] in {"tinyllama", "tinygpt2"}
]


class Fold:
    """A delta folded into its base: the claim, and what it is held against."""

    def __init__(self, path, base, work):
        cache = Cache(work / "cache")
        self.out = work / "out"
        with open_base(base, cache) as opened, open_folder(path) as folder:
            fold_folder(opened, folder, self.out)
            assessment = assess(folder.files, folder.tensors, opened.view)
            hashed = hash_folder(folder)
            delta = build_delta_manifest(
                assessment, delta=folder.files, files=hashed.files, digests=hashed.digests, base=opened.view
            )
            account = assess(folder.files, header_tensors(folder.files), opened.view).account
            own = folder.files.documents.get("config.json")
            below = opened.manifest
            self.stacking = Stacking(account, delta, below, base_view(below), own)
        self._cache = cache

    def problems(self):
        """Describe the result anew and hold it against the delta."""
        with open_base(self.out, self._cache) as result:
            return [p.message for p in self.stacking.problems(result.manifest)]


@pytest.mark.skipif(not REAL, reason=corpus.MISSING)
@pytest.mark.parametrize("delta", REAL, ids=[delta["id"] for delta in REAL])
def test_what_any_kind_folds_to_is_believed(delta, tmp_path):
    try:
        fold = Fold(corpus.CORPUS / delta["path"], corpus.base_folder(delta["base"]), tmp_path)
    except Refused as refused:
        pytest.skip(f"refused by name: {refused.message}")

    assert fold.problems() == []


@pytest.fixture
def sample(tmp_path):
    """Fold a sample of this repository."""
    return lambda name: Fold(SAMPLES / "deltas" / "tinyllama" / name, sample_base("tinyllama"), tmp_path)


@pytest.mark.parametrize(("name", "recipe"), [("lora", "numpy, 1024 rows, F32"), ("full", "")])
def test_only_computed_values_have_a_recipe(sample, name, recipe):
    assert sample(name).stacking.recipe() == recipe


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda out: (out / "tokenizer.json").write_text("{}"), "tokenizer.json is neither"),
        (lambda out: (out / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda out: (out / "vocab.txt").write_text("a"), "vocab.txt is not of it"),
        (lambda out: (out / "config.json").write_text('{"model_type": "llama"}'), "config.json"),
        (lambda out: shutil.copy(sample_base("tinyllama") / "model.safetensors", out), ""),
    ],
    ids=["another tokenizer", "none", "one more", "another config", "the base's own weights"],
)
def test_a_result_that_cannot_be_one_is_named(sample, act, told):
    fold = sample("full")
    act(fold.out)

    found = fold.problems()

    assert found
    assert told in found[0]


@pytest.mark.parametrize("depth", range(1, MAX_DEPTH))
def test_a_stack_grows_to_its_height(depth):
    check_stackable("team/x:v1", foldable=True, depth=depth)


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"foldable": True, "depth": MAX_DEPTH}, InvalidInput),
        ({"foldable": False, "depth": 1}, InvalidInput),
        ({"foldable": True, "depth": 1, "is_revoked": True}, Blocked),
    ],
)
def test_what_cannot_be_a_base_is_refused(facts, error):
    with pytest.raises(error, match="team/x:v1"):
        check_stackable("team/x:v1", **facts)
