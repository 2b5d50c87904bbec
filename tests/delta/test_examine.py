"""Numbers: NaN and infinity, copies of the base, copies of each other."""

from itertools import pairwise

import numpy as np
import pytest

from deltareg.delta.accounting import account, recognise
from deltareg.delta.examine import examine, row_blocks
from tests import tiny
from tests.delta.test_fold import Held
from tests.folders import open_base, open_folder

Q0 = f"{tiny.PREFIX}model.layers.0.self_attn.q_proj"


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def examined(path, base, *, with_base=True):
    view, weights = open_base(base.path)
    folder = open_folder(path)
    kind, _ = recognise(folder.files, view)
    found = account(kind.parse(folder.files, view), folder.files, folder.tensors, view)
    assert found.is_accepted
    problems = examine(found, folder.tensors, weights if with_base else None, folder.files)
    return [(problem.code, problem.tensor) for problem in problems]


def rewritten(tmp_path, base, change, **options):
    delta = tiny.lora(tmp_path / "plain", base, **options)
    tensors = {name: value.copy() for name, value in delta.tensors.items()}
    tensors.update(change(tensors))
    tiny.write(tmp_path / "delta", tensors, adapter_config=delta.config)
    return tmp_path / "delta"


def test_a_healthy_delta_has_no_problem(tmp_path, base):
    assert examined(rewritten(tmp_path, base, lambda _: {}), base) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_number_that_is_none_is_found(tmp_path, base, value, dtype):
    def spoil(tensors):
        tensors[f"{Q0}.lora_A.weight"][-1, -1] = value
        return {}

    path = rewritten(tmp_path, base, spoil, dtype=dtype)

    assert examined(path, base) == [("non_finite", f"{Q0}.lora_A.weight")]
    assert examined(path, base, with_base=False) == [("non_finite", f"{Q0}.lora_A.weight")]


def copy_of(base, name, *, dtype=np.float32, other=0.0):
    value = base.weights[name].astype(dtype)
    value[-1, -1] += other
    return lambda _: {f"{tiny.PREFIX}{name}": value}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_an_undeclared_embedding_must_be_the_bases(tmp_path, base, dtype):
    path = rewritten(tmp_path, base, copy_of(base, "model.embed_tokens.weight", dtype=dtype))

    assert examined(path, base) == []


def test_a_copy_of_another_base_shows(tmp_path, base):
    name = "model.embed_tokens.weight"
    path = rewritten(tmp_path, base, copy_of(base, name, other=0.5))

    assert examined(path, base) == [("base_mismatch", f"{tiny.PREFIX}{name}")]
    assert examined(path, base, with_base=False) == []


def test_the_leading_rows_of_a_grown_vocabulary_must_be_the_bases(tmp_path, base):
    name = "model.embed_tokens.weight"
    grown = np.concatenate([base.weights[name], np.ones((3, 8), np.float32)])
    own = rewritten(tmp_path / "own", base, lambda _: {f"{tiny.PREFIX}{name}": grown})
    other = grown.copy()
    other[0, 0] += 1

    alien = rewritten(tmp_path / "alien", base, lambda _: {f"{tiny.PREFIX}{name}": other})

    assert examined(own, base) == []
    assert examined(alien, base) == [("base_mismatch", f"{tiny.PREFIX}{name}")]


@pytest.mark.parametrize(("other", "codes"), [(0.0, []), (1.0, ["ambiguous"])])
def test_two_copies_of_a_saved_module_must_be_equal(tmp_path, base, other, codes):
    value = np.ones((20, 8), np.float32)

    def twice(_):
        return {f"{tiny.PREFIX}lm_head.weight": value + other, f"{tiny.PREFIX}lm_head.modules_to_save.weight": value}

    path = rewritten(tmp_path, base, twice, modules_to_save=["lm_head"])

    assert [code for code, _ in examined(path, base)] == codes


def test_blocks_of_rows_cover_a_tensor_and_stay_small():
    tall = Held(np.zeros((100_000, 256)))

    blocks = list(row_blocks(tall))

    assert blocks[0][0] == 0
    assert blocks[-1][1] == 100_000
    assert all(stop == start for (_, stop), (start, _) in pairwise(blocks))
    assert max(stop - start for start, stop in blocks) * 256 * 4 <= 8 << 20
    assert list(row_blocks(Held(np.float32(1)))) == [(0, 1)]
    assert list(row_blocks(Held(np.ones((5, 1))), 2)) == [(0, 2)]
