"""A base's folder and a delta's folder made into the folder of one model, without a server."""

import threading

import numpy as np
import pytest

from deltareg.client.cache.cache import Cache
from deltareg.client.fold.fold_folder import fold_folder
from deltareg.client.fold.made_ahead import made_ahead
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.errors import IntegrityFailure, InvalidInput, Refused
from tests.benchmarks import bench_fold, llama_files
from tests.fixtures.registries import SAMPLES

SMALL = llama_files.Shape(layers=2, hidden=256, inner=1300, heads=4, key_heads=2, vocabulary=2100)
LORA = SAMPLES / "deltas" / "tinyllama" / "lora"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fold")
    path = llama_files.write_base(folder / "base", SMALL)
    with open_base(path, Cache(folder / "cache")) as opened:
        yield opened


@pytest.mark.parametrize("write", [llama_files.write_lora, llama_files.write_tuned])
def test_every_tensor_is_the_same_as_computed_whole(base, tmp_path, write):
    delta = write(tmp_path / write.__name__.removeprefix("write_"), SMALL)

    with open_folder(delta) as opened:
        root = fold_folder(base, opened, tmp_path / "out")

    for name in SMALL.tensors():
        want = bench_fold.expected(base.path, delta, name)
        assert np.array_equal(llama_files.read(tmp_path / "out", name), want), name
    with open_base(tmp_path / "out", Cache(tmp_path / "cache")) as made:
        assert made.view.root == root


def test_floats_are_written_in_another_dtype_on_request(base, tmp_path):
    delta = llama_files.write_lora(tmp_path / "lora", SMALL)

    with open_folder(delta) as opened:
        fold_folder(base, opened, tmp_path / "out", dtype="F32")

    norm = "model.norm.weight"
    wide = llama_files.read(base.path, norm).astype("<u4") << 16
    assert np.array_equal(llama_files.read(tmp_path / "out", norm), wide.view("<f4"))


def test_another_result_than_the_expected_one_is_not_left_behind(base, tmp_path):
    delta = llama_files.write_lora(tmp_path / "lora", SMALL)

    with open_folder(delta) as opened, pytest.raises(IntegrityFailure, match="not blake3:00"):
        fold_folder(base, opened, tmp_path / "out", expect=f"blake3:{'00' * 32}")

    assert [path.name for path in tmp_path.iterdir()] == ["lora"]


def test_a_delta_of_another_base_writes_nothing(base, tmp_path):
    with open_folder(LORA) as opened, pytest.raises(Refused, match="do not fit"):
        fold_folder(base, opened, tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_the_next_item_is_made_while_one_is_used():
    made = [threading.Event() for _ in range(3)]

    def make():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in made_ahead(make()):
        assert all(event.wait(60) for event in made[: number + 2])


def test_items_end_where_making_one_fails():
    def make():
        yield 1
        raise InvalidInput("no more")

    items = made_ahead(make())

    assert next(items) == 1
    with pytest.raises(InvalidInput, match="no more"):
        next(items)


def test_a_caller_may_stop():
    items = made_ahead(iter(range(1000)))

    assert next(items) == 0
    items.close()
    assert list(items) == []
