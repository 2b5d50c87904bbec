"""Real deltas and other tools' merges of them: merges equal mergekit's files, to the last digit."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.client.folders.merged_files import write_lora, write_weights
from deltareg.client.progress import SILENT
from deltareg.delta.accounting import account, recognise
from deltareg.delta.fold import FoldedBase
from deltareg.delta.merge.factors import FactorMerging
from deltareg.delta.merge.method import FactorMethod, MergeSettings, ValueMethod
from deltareg.delta.merge.methods import method_named
from deltareg.delta.merge.sides import Parent
from deltareg.delta.merge.weights import ValueMerging
from deltareg.errors import InvalidInput, Refused
from deltareg.tensors.array import to_f32
from deltareg.tensors.array import view as view_of
from tests import corpus
from tests.folders import open_folder

pytestmark = pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)
MERGEABLE = [d for d in corpus.manifest()["deltas"] if d["mergeable"]]
CLOSE = 1e-6


def by_values(name):
    method = method_named(name)
    assert isinstance(method, ValueMethod)
    return method


def effects_of(folder, view):
    """Give a delta's effects; skip where its kind is not known here."""
    try:
        kind, _ = recognise(folder.files, view)
        found = account(kind.parse(folder.files, view), folder.files, folder.tensors, view)
    except Refused as refused:
        pytest.skip(f"refused by name: {refused.problem_code}")
    if not found.is_accepted or found.delta is None or not found.delta.foldable:
        pytest.skip("refused by name, or attached only")
    return found.effects


def folded(effects, base):
    """Give every changed or new tensor: name -> (dtype, shape, bytes)."""
    folding = FoldedBase(effects, base)
    found = {name: (folding.dtype(name), folding.shape(name), b"".join(folding.rows(name))) for name in folding.changed}
    for name, tensor in folding.additions.items():
        found[name] = (tensor.dtype, tensor.shape, bytes(tensor.read()))
    return found


def merged(effects, weights, base, folder):
    """Merge one delta with several weights, write it, read it again and fold it."""
    view, tensors = base
    parents = [Parent("a", "a", weight, effects) for weight in weights]
    merging = ValueMerging(parents, tensors, method=by_values("linear"), settings=MergeSettings())
    write_weights(merging, folder, view, [], SILENT)
    made = open_folder(folder)
    return folded(effects_of(made, view), tensors)


@pytest.mark.parametrize("delta", MERGEABLE, ids=lambda delta: delta["id"])
def test_a_real_delta_alone_is_itself_and_less_itself_the_base(delta, tmp_path):
    base = corpus.base(delta["base"])
    effects = effects_of(open_folder(corpus.CORPUS / delta["path"]), base[0])
    (tmp_path / "one").mkdir()
    (tmp_path / "none").mkdir()

    alone = merged(effects, [1.0], base, tmp_path / "one")
    nothing = merged(effects, [1.0, -1.0], base, tmp_path / "none")

    assert alone == folded(effects, base[1])
    assert nothing
    for name, (dtype, shape, data) in nothing.items():
        own = base[1].get(name) or base[1][base[0].names.stored_twin(name)]
        kept = bytes(own.read())
        assert dtype == own.dtype or dtype == "F32"
        assert (data, shape) == (kept, own.shape), name


@pytest.mark.parametrize("method", ["cat", "svd"])
@pytest.mark.parametrize("delta", MERGEABLE, ids=lambda delta: delta["id"])
def test_a_real_delta_as_a_lora_of_full_rank_does_the_same(delta, method, tmp_path):
    view, base = corpus.base(delta["base"])
    folder = open_folder(corpus.CORPUS / delta["path"])
    effects = effects_of(folder, view)
    by_factors = method_named(method)
    assert isinstance(by_factors, FactorMethod)

    try:
        merging = FactorMerging(
            [Parent("a", "a", 1.0, effects)], base, view, method=by_factors, settings=MergeSettings(rank=10**6)
        )
    except InvalidInput as refused:
        pytest.skip(refused.message)
    write_lora(merging, tmp_path, [], "F32", SILENT)
    made = folded(effects_of(open_folder(tmp_path), view), base)

    expected = folded(effects, base)
    assert made.keys() == expected.keys()
    for name, (dtype, shape, data) in expected.items():
        want, got = (to_f32(view_of(raw, dtype, shape), dtype) for raw in (data, made[name][2]))
        assert np.abs(got - want).max() <= (CLOSE if dtype == "F32" else 0.02), name


@pytest.mark.parametrize(
    ("name", "method", "weights", "parameters"),
    [
        ("mk_linear", "linear", (0.5, 0.5), {}),
        ("mk_linear", "linear", (3.0, 3.0), {"normalize": True}),
        ("mk_task_arithmetic", "task_arithmetic", (0.7, 0.4), {}),
        ("mk_slerp", "slerp", (0.7, 0.3), {}),
    ],
)
def test_a_merge_equals_the_file_that_mergekit_wrote(name, method, weights, parameters, tmp_path):
    view, base = corpus.base("tinyllama")
    parents = [open_folder(corpus.CORPUS / "deltas/tinyllama/full_ft"), second(tmp_path)]
    pairs = zip(parents, weights, strict=True)
    sources = [Parent(str(w), str(w), w, effects_of(f, view)) for f, w in pairs]

    merging = ValueMerging(sources, base, method=by_values(method), settings=MergeSettings(**parameters))

    expected = arrays(open_folder(corpus.CORPUS / "merges/tinyllama" / name).tensors)
    assert set(merging.targets) == set(expected)
    for target, want in expected.items():
        got = np.frombuffer(b"".join(merging.rows(target)), "<f4").reshape(want.shape)
        assert np.abs(got - want).max() <= CLOSE, target


def second(folder):
    """Make the second fine-tune, of which the corpus holds only its mean with the first."""
    first = arrays(open_folder(corpus.CORPUS / "deltas/tinyllama/full_ft").tensors)
    mean = arrays(open_folder(corpus.CORPUS / "merges/tinyllama/mk_linear").tensors)
    tensors = {name: (2 * mean[name] - first[name]).astype(np.float32) for name in mean}
    save_file(tensors, folder / "model.safetensors")
    return open_folder(folder)


def arrays(tensors):
    return {
        name: np.frombuffer(tensor.read(), "<f4").reshape(tensor.shape).astype(np.float64)
        for name, tensor in tensors.items()
    }
