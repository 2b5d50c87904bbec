"""Whether an embedder finds texts as alike as people do: the correlation of ranks."""

from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.measures.embeddings import POOLINGS, embeddings
from deltareg_verify.engine.measures.ranking import spearman
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the cosines of pairs with people's ratings of them."""
    return rows_compared(
        case,
        spec,
        partial(_values, str(spec.parameters["pooling"])),
        SampleMeasure(
            description="correlation of ranks",
            by="spearman",
            aggregate=_correlation,
            needs="vectors of tokens or of whole texts, and a tokenizer in the base",
        ),
    )


def _values(pooling: str, side: EngineSide, samples: Samples) -> list[object] | None:
    first = embeddings(side, samples.texts, pooling=pooling)
    other = embeddings(side, samples.partners, pooling=pooling)
    if first is None or other is None or samples.scores is None:
        return None
    cosines = (first * other).sum(1)
    return list(zip(cosines.tolist(), samples.scores.tolist(), strict=True))


def _correlation(rows: Sequence[object]) -> float:
    return spearman(np.array(cast("Sequence[tuple[float, float]]", rows), np.float64))


CHECK = Check(
    "similarity",
    run,
    CheckForm(
        "whether it finds texts as alike as people do",
        {**UNDECIDED, "worse": "fail", "pooling": "own"},
        counts=("least_samples",),
        choices={"pooling": POOLINGS},
        probes=("similar",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
