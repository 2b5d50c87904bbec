"""Maps of three versions: each cell says which one differs, and a large map has all its cells."""

from collections import Counter
from itertools import product
from types import SimpleNamespace

import pytest

from deltareg.pages.layer_map import odd_map, odd_of

LAYERS, MODULES = 128, 30


@pytest.mark.parametrize("found", list(product(["", "x", "y", "z"], repeat=3)))
def test_the_odd_one_of_three_is_the_one_without_which_they_agree(found):
    odd = odd_of(found)

    agree = [name for n, name in enumerate(("first", "second", "third")) if len({*found[:n], *found[n + 1 :]}) == 1]
    if not any(found):
        assert odd == "neither"
    elif len(set(found)) == 1:
        assert odd == "same"
    else:
        assert odd == (agree[0] if agree else "each")


def _manifest(digest):
    tensors = [
        SimpleNamespace(
            role="weight",
            name=f"model.layers.{layer}.m{module}.weight",
            target=f"model.layers.{layer}.m{module}.weight",
            shape=(2, 2),
            digest=digest(layer, module),
        )
        for layer in range(LAYERS)
        for module in range(MODULES)
    ]
    return SimpleNamespace(tensors=[tensor for tensor in tensors if tensor.digest])


def test_a_large_map_has_all_its_cells_and_counts_them():
    sides = [
        lambda _layer, _module: "a",
        lambda layer, module: "b" if layer == module else "a",
        lambda layer, module: "" if layer == LAYERS - 1 else "c" if layer + 1 == module else "a",
    ]
    made, counted = odd_map([_manifest(side) for side in sides], ["v1", "v2", "v3"])

    cells = Counter(cell.style for row in made.rows for cell in row.cells)
    assert (len(made.layers), len(made.rows), made.is_dense) == (LAYERS, MODULES, True)
    assert cells == {"second": MODULES, "third": 2 * MODULES - 1, "same": LAYERS * MODULES - 3 * MODULES + 1}
    assert counted == {"first": 0, "each": 0, **cells}
    last = made.rows[0].cells[-1]
    assert last.told == "layer 127, m0: v3 differs from v1 and v2; nothing in v3"
