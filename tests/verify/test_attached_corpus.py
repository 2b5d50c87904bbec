"""Deltas that act on activations, attached to live networks without the libraries they are of."""

from functools import partial

import numpy as np
import pytest

from deltareg.errors import Refused
from tests import corpus
from tests.verify.bench import Bench
from tests.verify.oracles import attached_logits, expected_logits

NOT_YET = "no kind for it is written yet"


def is_attached(delta):
    """Whether a delta has effects that no weight can hold, or comes from the adapters library."""
    own = delta.get("attached_only") or delta["lib"] == "adapters"
    return own and delta["expect_lint"] != "refuse" and "expected" in delta


DELTAS = {delta["id"]: delta for delta in corpus.manifest()["deltas"] if is_attached(delta)}
IDS = sorted(DELTAS) or [pytest.param("", marks=pytest.mark.skip(reason=corpus.MISSING))]
# Its library computes something else than what it stores; see the corpus' manifest.
CONFLICTS = {
    delta_id: delta["oracle_conflict"]
    for delta_id, delta in DELTAS.items()
    if delta.get("oracle_conflict") and delta["registry_kind"] in {"prefix", "prompt", "composite"}
}
pytestmark = pytest.mark.skipif(not corpus.has_corpus(), reason=corpus.MISSING)


@pytest.fixture
def open_delta(cache_dir):
    """Open a delta of the corpus; skip it while nobody reads its kind."""
    return partial(_open, cache_dir)


def _open(cache_dir, delta):
    base = corpus.base_folder(delta["base"])
    try:
        return Bench(corpus.CORPUS / delta["path"], base, cache_dir)
    except Refused as refused:
        if {problem.code for problem in refused.problems} == {"unknown_kind"}:
            pytest.skip(NOT_YET)
        raise


@pytest.mark.parametrize("delta_id", IDS)
def test_logits_with_the_delta_attached_are_the_librarys(open_delta, delta_id):
    delta = DELTAS[delta_id]
    if delta_id in CONFLICTS:
        pytest.skip(CONFLICTS[delta_id])
    expected = expected_logits(delta)
    bench = open_delta(delta)

    found = attached_logits(bench, delta)

    tolerance = max(1e-4, (delta.get("tolerance") or {}).get("logits_atol", 0))
    assert found.shape == expected.shape
    assert np.max(np.abs(found - expected)) <= tolerance


@pytest.mark.parametrize("delta_id", IDS)
def test_every_effect_takes_part(open_delta, delta_id):
    bench = open_delta(DELTAS[delta_id])

    fired = bench.engine().find_fired()

    assert fired.silent == ()
