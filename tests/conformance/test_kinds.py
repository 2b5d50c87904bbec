"""The registry's own kinds pass the tests that it ships for those of others.

A new kind joins with a sample: a folder in `tests/samples/kinds`, listed in its manifest.
"""

import json
from pathlib import Path

import pytest

from deltareg.delta.fold import FoldedBase
from deltareg.testing import KindTests, Sample
from deltareg.testing.kinds import assess_delta
from tests.samples.surgery import read_tensors

SAMPLES = Path(__file__).parents[1] / "samples"
MANIFEST = {entry["id"]: entry for entry in json.loads((SAMPLES / "kinds/manifest.json").read_text())}
# The library folds these, and the registry says no: the reason stands beside each.
NOT_READ: dict[str, str] = {
    "adamss": "which outputs a factor adds to follows from a clustering that is not saved",
    "osf": "it replaces singular components that are worked out from the base on every load",
    "psoft": "it turns singular vectors of the base, whose signs are arbitrary",
    "unilora": "it was saved without its places, which NumPy's generator drew",
}


def merged(name):
    """Give the weights that the library merged, by their names in memory."""
    path = SAMPLES / "kinds" / name / "expected.safetensors"
    return lambda: {
        key.removeprefix("merged::"): values for key, values in read_tensors(path).items() if key.startswith("merged::")
    }


def sample(name):
    entry = MANIFEST[name]
    return Sample(
        SAMPLES / "kinds" / name / "delta",
        SAMPLES / "bases" / entry["base"],
        folds=entry["merges"],
        **({"merged": merged(name)} if entry["merges"] else {}),
    )


class TestOurKinds(KindTests):
    samples = {name: sample(name) for name in sorted(MANIFEST.keys() - NOT_READ.keys())}  # noqa: RUF012  # as its docs write it


@pytest.mark.parametrize("name", [n for n, s in TestOurKinds.samples.items() if s.folds])
def test_it_changes_all_that_the_library_changed(name):
    folder, base, weights = TestOurKinds.samples[name].open_with_base()
    found = assess_delta(folder.files, folder.tensors, base)

    changed = FoldedBase(found.effects, weights).changed

    assert set(MANIFEST[name]["changed"]) <= {base.names.memory(n) or n for n in changed}
