"""The numbers of `diff`, on real pairs of deltas, against dense float64 computations."""

import numpy as np
import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.compare import tensor_differences, weight_differences
from deltareg.delta.kind import ActivationHook, Addition, PrefixInsert, WeightUpdate
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.delta.merge.sides import read_f64
from deltareg.errors import Refused
from tests import corpus
from tests.folders import open_folder

pytestmark = pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)

WEIGHTS = [
    ("tinyllama/lora", "tinyllama/lora_v2"),
    ("tinyllama/lora", "tinyllama/lora_second"),
    ("tinyllama/lora", "tinyllama/lora_rslora"),
    ("tinyllama/lora", "tinyllama/lora_dora"),
    ("tinyllama/lora", "tinyllama/lora_bf16"),
    ("tinyllama/lora_pissa", "tinyllama/lora_v2"),
    ("tinyllama/lora", "tinyllama/lora_modules_to_save"),
    ("tinyllama/lora_vocab_resized", "tinyllama/lora"),
    ("tinyllama/lora", "tinyllama/ia3"),
    ("tinyllama/ia3", "tinyllama/full_ft"),
    ("tinyllama/lora_dora", "tinyllama/full_ft"),
    ("tinyllama/full_ft", "tinyllama/full_ft"),
    ("minilm/lora", "minilm/dora"),
    ("minilm/ia3", "minilm/lora"),
    ("minilm/bitfit_delta", "minilm/lora"),
    ("tinyvit/lora", "tinyvit/lora_tf4_names"),
    ("tinyvit/lora", "tinyvit/ia3"),
    ("tinyvit/bitfit_delta", "tinyvit/full_ft"),
    ("tinyclip/lora_both", "tinyclip/full_ft"),
    ("tinyclip/bitfit_delta", "tinyclip/full_ft"),
    ("tinygpt2/lora", "tinygpt2/lora_lmhead_tied"),
    ("tinygpt2/ia3", "tinygpt2/bitfit_abs"),
    ("tinygpt2/lora", "tinygpt2/bitfit_abs"),
    ("tinyllama/loha", "tinyllama/lora"),
    ("tinyllama/adalora", "tinyllama/lora"),
    ("tinyllama/task_vector", "tinyllama/full_ft"),
    ("tinyllama/shira", "tinyllama/sparse_coo"),
    ("tinyllama/ln_tuning", "tinyllama/full_ft"),
    ("tinyllama/trainable_tokens", "tinyllama/lora"),
    ("tinyllama/oft", "tinyllama/lora_v2"),
]
ATTACHED = [
    ("tinyllama/prefix", "tinyllama/cartridge"),
    ("tinyllama/prompt", "tinyllama/ptuning"),
    ("tinyllama/prefix", "tinyllama/prefix"),
    ("minilm/adp_seq_bn", "minilm/adp_par_bn"),
    ("tinygpt2/adp_seq_bn", "tinygpt2/adp_double_seq_bn"),
    ("tinyvit/adp_seq_bn", "tinyvit/convpass"),
    ("tinyllama/lora", "tinyllama/prefix"),
]


class WideOps(NumPyOps):
    """The operations in float64: what formulas give when nothing is rounded on the way."""

    def load(self, tensor, start=0, stop=None, *, is_part=False):
        return np.asarray(super().load(tensor, start, stop), dtype=np.float64)


def opened(name):
    """Give a delta's effects and tensors; skip where its kind is not known here."""
    entry = next(d for d in corpus.manifest()["deltas"] if d["id"] == name)
    view, base = corpus.base(entry["base"])
    folder = open_folder(corpus.CORPUS / entry["path"])
    try:
        kind, _ = recognise(folder.files, view)
        found = account(kind.parse(folder.files, view), folder.files, folder.tensors, view)
    except Refused as refused:
        pytest.skip(f"{name} is refused by name: {refused.problem_code}")
    if not found.is_accepted:
        pytest.skip(f"{name} is refused by name")
    return found.effects, folder.tensors, base


def dense(effects, base):
    """Give every ΔW, in float64, without any of the shortcuts; rows that are new start at zero."""
    before, after = {}, {}
    for effect in effects:
        if isinstance(effect, WeightUpdate):
            if effect.target not in before:
                own = read_f64(base[effect.source], 0, (base[effect.source].shape or (1,))[0])
                shape = next((e.shape for e in effects if grows(e, effect.target)), own.shape)
                before[effect.target] = sized(own, shape)
                after[effect.target] = before[effect.target]
            height = (after[effect.target].shape or (1,))[0]
            after[effect.target] = effect.update.fold(after[effect.target], 0, height, WideOps())
    return {name: np.asarray(after[name], dtype=np.float64) - before[name] for name in before}


def grows(effect, target):
    return isinstance(effect, WeightUpdate) and effect.target == target and effect.shape is not None


def sized(values, shape):
    if values.shape == tuple(shape):
        return values
    found = np.zeros(shape)
    if values.shape[1:] == tuple(shape[1:]):
        found[: len(values)] = values
    return found


def carried(effects, tensors):
    """Give what does not act on a stored weight, float64."""
    found = {e.target: e.tensor for e in effects if isinstance(e, Addition)}
    for effect in effects:
        if isinstance(effect, (ActivationHook, PrefixInsert)):
            found |= {name: tensors[name] for name in effect.consumes}
    return {n: read_f64(t, 0, (t.shape or (1,))[0]) for n, t in found.items() if t.dtype[0] != "I"}


def expected(a, b):
    """Give relative norm, cosine and both norms of two changes; a missing one is zero."""
    shape = np.maximum(*(np.array(x.shape) for x in (a if a is not None else b, b if b is not None else a)))
    one = sized_any(a, shape)
    two = sized_any(b, shape)
    norm_a, norm_b = np.linalg.norm(one), np.linalg.norm(two)
    apart = np.linalg.norm(two - one) / norm_a if norm_a else float(norm_b > 0)
    cosine = np.vdot(one, two) / (norm_a * norm_b) if norm_a and norm_b else 0.0
    return apart, cosine, norm_a, norm_b


def sized_any(values, shape):
    found = np.zeros(tuple(shape))
    if values is not None:
        found[tuple(slice(n) for n in values.shape)] = values
    return found


def check(found, one, two, close):
    assert {row.module for row in found} == one.keys() | two.keys()
    for row in found:
        want = expected(one.get(row.module), two.get(row.module))
        got = (row.relative_norm, row.cosine, row.norm_a, row.norm_b)
        assert got == pytest.approx(want, rel=close, abs=close), row.module


@pytest.mark.parametrize(("a", "b"), WEIGHTS, ids=lambda name: name)
def test_changes_of_weights_are_measured_as_a_dense_computation_does(a, b):
    one, two = opened(a), opened(b)

    found = list(weight_differences(one[0], two[0], one[2]))

    check(found, dense(one[0], one[2]), dense(two[0], two[2]), 2e-5)
    assert len(found) > 0


@pytest.mark.parametrize(("a", "b"), ATTACHED, ids=lambda name: name)
def test_what_is_attached_is_measured_tensor_by_tensor(a, b):
    one, two = opened(a), opened(b)

    found = list(tensor_differences(one[0], two[0], (one[1], two[1])))

    check(found, carried(*one[:2]), carried(*two[:2]), 1e-9)
    assert len(found) > 0
