"""The steps of merge methods, and merges of weights that are made up: ties, growth, odd dtypes."""

import tracemalloc

import numpy as np
import pytest

from deltareg.delta.kind import Addition, WeightUpdate
from deltareg.delta.maths.updates import Replacement, ScaledAddition
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.methods import method_named
from deltareg.delta.merge.sides import Parent
from deltareg.delta.merge.steps import dropped_at_random, largest, with_one_sign
from deltareg.delta.merge.weights import ValueMerging
from deltareg.errors import InvalidInput

GOLDEN = "x.x..x...xxxx.xxx...xx.."
NAMES = {"<f4": "F32", "<f8": "F64", "<i8": "I64"}


class Held:
    """A tensor whose data is an array."""

    def __init__(self, name, values):
        self.name, self.values = name, np.asarray(values)
        self.dtype, self.shape = NAMES[self.values.dtype.str], self.values.shape

    def read(self, start=0, stop=None):
        part = self.values[start:stop] if self.shape else self.values
        return memoryview(part.tobytes())


def f32(*values):
    return np.array(values, dtype="<f4")


def merging(base, *parents, method="linear"):
    """Merge parents, given as (weight, effects), over a base of arrays."""
    held = {name: Held(name, values) for name, values in base.items()}
    sources = [Parent(f"p{n}", f"p{n}", weight, effects) for n, (weight, effects) in enumerate(parents)]
    by_values = method_named(method)
    assert isinstance(by_values, ValueMethod)
    return ValueMerging(sources, held, method=by_values, settings=MergeSettings())


def result(merged, name, dtype="<f4"):
    return np.frombuffer(b"".join(merged.rows(name)), dtype).reshape(merged.shape(name))


def add(target, values, **more):
    return WeightUpdate(target, ScaledAddition(Held("x", values)), {}, **more)


def put(target, values, **more):
    values = Held("x", values)
    return WeightUpdate(target, Replacement(values), {}, dtype=values.dtype, **more)


def test_what_is_dropped_does_not_depend_on_how_many_rows_are_seen_together():
    change = np.random.default_rng(0).standard_normal((37, 11))
    settings = MergeSettings(density=0.5, seed=3)

    whole = dropped_at_random(MergeRows("w", 0, change, [change], [1.0], ["k"]), settings)[0]
    parts = [
        dropped_at_random(MergeRows("w", at * 11, rows, [rows], [1.0], ["k"]), settings)[0]
        for at, rows in ((at, change[at : at + 5]) for at in range(0, 37, 5))
    ]

    assert np.array_equal(np.concatenate(parts), whole)


def test_what_a_seed_draws_is_fixed_for_good():
    ones = np.ones(24)
    settings = MergeSettings(density=0.5, seed=7)

    drawn = dropped_at_random(MergeRows("w", 0, ones, [ones], [1.0], ["parent"]), settings)[0]

    assert "".join("x" if value else "." for value in drawn) == GOLDEN


def test_of_equals_at_the_edge_the_first_are_kept():
    assert largest(np.array([1.0, -2.0, 2.0, 2.0, 0.5]), 0.4).tolist() == [False, True, True, False, False]


def test_a_sign_that_cancels_out_is_plus():
    masks = with_one_sign([np.array([1.0, -1.0]), np.array([-1.0, -1.0])])

    assert [mask.tolist() for mask in masks] == [[True, True], [False, True]]


def test_an_untied_weight_takes_part_in_what_others_do_to_the_shared_one():
    untied = add("head", f32(1, 1), reads="embed")
    shared = add("embed", f32(2, 4))

    merged = merging({"embed": f32(10, 20)}, (1.0, [untied]), (0.5, [shared]))

    assert result(merged, "embed").tolist() == [11, 22]
    assert result(merged, "head").tolist() == [12, 23]


def test_the_longest_vocabulary_counts():
    one = WeightUpdate("w", Replacement(Held("a", f32([1], [2], [3]))), {}, shape=(3, 1))
    two = WeightUpdate("w", Replacement(Held("b", f32([3], [2]))), {})

    merged = merging({"w": f32([1], [2])}, (1.0, [one]), (0.5, [two]))

    assert result(merged, "w").tolist() == [[2], [2], [3]]


def test_new_tensors_of_other_sizes_are_refused():
    heads = [Addition("head", Held("h", f32(*range(n))), {}) for n in (2, 3)]

    with pytest.raises(InvalidInput, match="do not go together"):
        merging({}, (1.0, heads[:1]), (1.0, heads[1:])).shape("head")


def test_whole_numbers_are_carried_where_all_agree_and_never_added_up():
    base = {"ids": np.array([1, 2], dtype="<i8")}
    same = put("ids", np.array([3, 4], dtype="<i8"))
    other = put("ids", np.array([5, 6], dtype="<i8"))

    agreed = merging(base, (0.5, [same]), (0.5, [same]))
    apart = merging(base, (0.5, [same]), (0.5, [other]))

    assert result(agreed, "ids", "<i8").tolist() == [3, 4]
    with pytest.raises(InvalidInput, match="no real numbers"):
        list(apart.rows("ids"))


def test_values_far_apart_in_size_come_back_to_the_bit():
    base, tuned = f32(1e10, 3.0, -0.0), f32(1e-30, 3.0, 0.0)

    alone = merging({"w": base}, (1.0, [put("w", tuned)]))
    nothing = merging({"w": base}, (1.0, [put("w", tuned)]), (-1.0, [put("w", tuned)]))

    assert result(alone, "w").tobytes() == tuned.tobytes()
    assert result(nothing, "w").tobytes() == base.tobytes()


def test_float64_weights_keep_all_of_their_digits():
    base = {"w": np.array([1 / 3, 1.0])}
    tuned = put("w", np.array([1 / 3 + 1e-12, 2.0]))

    merged = merging(base, (0.5, [tuned]))

    assert merged.dtype("w") == "F64"
    assert result(merged, "w", "<f8") == pytest.approx([1 / 3 + 5e-13, 1.5], abs=1e-15)


@pytest.mark.parametrize("shape", [(), (40_000,), (3, 20_000), (1100, 40), (5, 3, 2, 2)])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_pieces_give_what_the_whole_weight_gives_at_once(shape, dtype):
    random = np.random.default_rng(5)
    base, one, two = (random.normal(size=shape).astype(dtype) for _ in range(3))
    base, one, two = (np.asarray(values, dtype) for values in (base, one, np.where(two > 1, base, two)))

    merged = merging({"w": base}, (0.75, [put("w", one)]), (0.5, [put("w", two)]))

    wide = base.astype(np.float64)
    change = 0.75 * (one.astype(np.float64) - wide) + 0.5 * (two.astype(np.float64) - wide)
    assert result(merged, "w", dtype).tobytes() == (wide + change).astype("<f4" if dtype == "<f4" else dtype).tobytes()


def test_a_merge_holds_a_few_rows_and_no_weight_in_float64():
    height, width = 8192, 128
    weights = {"w": np.zeros((height, width), "<f4")}
    parents = [(1.0, [add("w", np.full((height, width), n, "<f4"))]) for n in (1, 2, 4, 8)]
    merged = merging(weights, *parents)

    tracemalloc.start()
    total = sum(float(np.frombuffer(part, "<f4").sum(dtype=np.float64)) for part in merged.rows("w"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert total == 15.0 * height * width
    assert peak < 14 * 1024 * width * 4  # blocks of 1,024 rows in float32: the base's, each parent's, and its own sums
