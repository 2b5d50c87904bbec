"""Merges beside mergekit's, which ran for real: `tests.golden.make_mergekit` wrote down what it made.

Equal to rounding is every number of model_stock, karcher, nuslerp, sce, breadcrumbs, breadcrumbs_ties
and ties, and of della and della_linear where mergekit gets our draws; its own draws have the chances
that ours have. Two things differ on purpose, and are held here too: karcher goes on until it is at
rest, where mergekit stops at 1e-5, and sce and model_stock measure small changes as they measure
large ones, where mergekit takes sums below 1e-6 for zero.

The soak runs mergekit again, by the interpreter that DELTAREG_TEST_MERGEKIT names.
"""

import json
import os
import subprocess
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg.delta.accounting import account, recognise
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.methods import method_named
from deltareg.delta.merge.sides import Parent
from deltareg.delta.merge.steps import drop_by_size, keep_chances
from deltareg.delta.merge.weights import ValueMerging
from deltareg.errors import InvalidInput
from tests.folders import open_base, open_folder
from tests.golden.make_mergekit import CASES, CONFIG, FOLDER, KEYS, models

PROGRAM = "DELTAREG_TEST_MERGEKIT"
CLOSE = 1e-6


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Give the base and the three fine-tunes of the golden files, as they are read from folders."""
    root, found = tmp_path_factory.mktemp("models"), {}
    for name, tensors in models().items():
        (root / name).mkdir()
        save_file(tensors, root / name / "model.safetensors", metadata={"format": "pt"})
        (root / name / "config.json").write_text(json.dumps(CONFIG))
    view, base = open_base(root / "base")
    for key in KEYS:
        folder = open_folder(root / key)
        kind, _ = recognise(folder.files, view)
        found[key] = account(kind.parse(folder.files, view), folder.files, folder.tensors, view).effects
    return base, found


def merge(sources, case):
    """Merge as a case says: name -> values."""
    base, effects = sources
    _, _, keys, parameters, weights = CASES[case]
    parents = [Parent(key, key, weight, effects[key]) for key, weight in zip(keys, weights, strict=True)]
    merging = ValueMerging(
        parents, base, method=by_values(CASES[case][0]), settings=MergeSettings(**cast("dict[str, Any]", parameters))
    )
    return {
        name: np.frombuffer(b"".join(merging.rows(name)), "<f4").reshape(merging.shape(name))
        for name in merging.targets
    }


def by_values(name):
    method = method_named(name)
    assert isinstance(method, ValueMethod)
    return method


def rows_of(changes, *, base=None, weights=None, target="w"):
    base = np.zeros_like(changes[0]) if base is None else base
    return MergeRows(target, 0, base, changes, weights or [1.0] * len(changes), [str(n) for n in range(len(changes))])


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("case", CASES)
def test_a_merge_is_what_mergekit_made(case, sources):
    expected = load_file(FOLDER / f"{case}.safetensors")

    got = merge(sources, case)

    assert got.keys() == expected.keys()
    for name, want in expected.items():
        assert np.abs(got[name] - want).max() <= CLOSE, name


@pytest.mark.parametrize("case", CASES)
def test_a_merge_is_something_else_than_the_sum(case, sources):
    base = models()["base"]
    changed = load_file(FOLDER / f"{case}.safetensors")

    moved = [np.linalg.norm(changed[name] - base[name]) for name in base]

    assert min(moved) > 0.001


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.skipif(PROGRAM not in os.environ, reason=f"{PROGRAM} names no Python that has mergekit")
def test_mergekit_of_today_makes_the_same(tmp_path, sources):
    command = [os.environ[PROGRAM], "-m", "tests.golden.make_mergekit", str(tmp_path)]
    subprocess.run(command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})

    worst = {}
    for case in CASES:
        theirs, ours = load_file(tmp_path / f"{case}.safetensors"), merge(sources, case)
        worst[case] = max(float(np.abs(ours[name] - theirs[name]).max()) for name in theirs)

    print(*(f"{case:20}{difference:.1e}" for case, difference in worst.items()), sep="\n")
    assert max(worst.values()) <= CLOSE, worst


def test_della_keeps_elements_by_their_rank_and_gives_the_sum_back():
    change = normal(0, 200, 60)
    settings = MergeSettings(density=0.5, epsilon=0.2)

    kept = np.mean([drop_by_size(rows_of([change], target=f"w{n}"), settings)[0] != 0 for n in range(200)], axis=0)
    dropped = drop_by_size(rows_of([change]), settings)[0]

    chances = keep_chances(change, settings)
    assert (chances.min(), chances.max()) == pytest.approx((0.3, 0.7))
    assert np.array_equal(np.argsort(chances, axis=1), np.argsort(np.abs(change), axis=1))
    assert np.abs(kept - chances).max() < 6 * np.sqrt(0.25 / 200)
    assert np.mean(kept - chances) == pytest.approx(0, abs=0.002)
    assert np.abs(dropped).sum() == pytest.approx(np.abs(change).sum())


def test_della_draws_the_same_for_one_seed_and_else_for_another():
    change = normal(0, 30, 20)

    once, again, other = (
        drop_by_size(rows_of([change]), MergeSettings(epsilon=0.1, seed=seed))[0] for seed in (1, 1, 2)
    )

    assert np.array_equal(once, again)
    assert not np.array_equal(once != 0, other != 0)


def test_the_karcher_mean_is_where_the_arcs_to_all_versions_cancel_out():
    points, weights = [normal(n, 50) for n in range(4)], np.array([0.1, 0.2, 0.3, 0.4])

    mean = by_values("karcher").merge(rows_of(points, weights=list(weights)), MergeSettings())

    unit = mean / np.linalg.norm(mean)
    arcs = sum(w * arc(unit, point / np.linalg.norm(point)) for w, point in zip(weights, points, strict=True))
    assert np.linalg.norm(arcs) < 1e-12
    assert np.linalg.norm(mean) == pytest.approx(weights @ [np.linalg.norm(point) for point in points])


def arc(at, to):
    cosine = at @ to
    across = to - cosine * at
    return across / np.linalg.norm(across) * np.arccos(cosine)


def test_the_karcher_mean_of_two_is_slerp_and_nuslerp_is_slerp_of_changes():
    a, b = normal(1, 40) + 2, 3 * normal(2, 40) + 1
    rows = rows_of([a / np.linalg.norm(a), b / np.linalg.norm(b)], weights=[0.3, 0.7])

    karcher, slerp, nuslerp = (by_values(name).merge(rows, MergeSettings()) for name in ("karcher", "slerp", "nuslerp"))

    assert karcher == pytest.approx(slerp, abs=1e-12)
    assert nuslerp == pytest.approx(slerp, abs=1e-12)


@pytest.mark.parametrize("method", ["model_stock", "sce", "nuslerp", "breadcrumbs", "breadcrumbs_ties", "della"])
def test_small_changes_are_merged_as_large_ones_are(method):
    changes = [normal(n, 12, 10) for n in range(2)]
    merged_by = by_values(method).merge

    large = merged_by(rows_of(changes), MergeSettings())
    small = merged_by(rows_of([change * 2.0**-20 for change in changes]), MergeSettings())

    assert np.any(large)
    assert small * 2.0**20 == pytest.approx(large, abs=1e-12)


@pytest.mark.parametrize("method", ["model_stock", "karcher", "nuslerp", "sce", "della", "breadcrumbs_ties"])
def test_versions_that_are_the_same_merge_into_themselves(method):
    change, base = normal(3, 9, 7), normal(4, 9, 7)

    merged = by_values(method).merge(rows_of([change, change], base=base), MergeSettings(density=1.0))

    assert merged == pytest.approx(change * (2 if method == "breadcrumbs_ties" else 1), abs=1e-12)


def test_versions_that_leave_a_weight_alone_leave_it_as_it_was():
    zeros = [np.zeros((4, 3))] * 2
    base = normal(5, 4, 3)

    for name in sorted({case[0] for case in CASES.values()}):
        merged = by_values(name).merge(rows_of(zeros, base=base), MergeSettings())
        assert merged == pytest.approx(zeros[0], abs=1e-15), name


@pytest.mark.parametrize(
    ("method", "weights", "parameters", "words"),
    [
        ("model_stock", (1.0,), {}, "needs 2 versions"),
        ("sce", (1.0,), {}, "needs 2 versions"),
        ("nuslerp", (1.0,), {}, "merges 2 versions, not 1"),
        ("nuslerp", (1.0, 1.0, 1.0), {}, "merges 2 versions, not 3"),
        ("nuslerp", (1.0, -1.0), {}, "sum up to zero"),
        ("model_stock", (0.7, 0.3), {}, "finds the weights by itself"),
        ("sce", (0.7, 0.3), {}, "finds the weights by itself"),
        ("karcher", (1.0, -0.5), {}, "no negative weights"),
        ("della", (1.0, 1.0), {"density": 0.1}, "plus or minus epsilon"),
    ],
)
def test_what_a_method_cannot_merge_is_refused_in_words(method, weights, parameters, words, sources):
    base, effects = sources
    parents = [Parent(key, key, weight, effects[key]) for key, weight in zip(KEYS, weights, strict=False)]

    def merge_first():
        merging = ValueMerging(parents, base, method=by_values(method), settings=MergeSettings(**parameters))
        return list(merging.rows(merging.targets[0]))

    with pytest.raises(InvalidInput, match=words):
        merge_first()
