"""How well a network that takes a query and a text at once ranks relevant texts first."""

from functools import partial

import numpy as np

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.samples import RankingCandidates
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.engine import F64
from deltareg_verify.engine.measures.embeddings import batches
from deltareg_verify.engine.measures.ranking import MEASURES
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared

_SCORES = "logits"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare how well both rank, query by query."""
    which, within = str(spec.parameters["measure"]), int(spec.number("within"))
    return rows_compared(
        case,
        spec,
        partial(_values, spec),
        SampleMeasure(
            description=f"{which} at {within}",
            needs="a head that gives a pair of texts one score or two, and a tokenizer",
        ),
    )


def _values(spec: CheckSpec, side: EngineSide, samples: Samples) -> list[object] | None:
    value, within = MEASURES[str(spec.parameters["measure"])], int(spec.number("within"))
    rows: list[object] = []
    for query, one in zip(samples.texts, samples.candidates, strict=True):
        scores = _scores(side, query, one)
        if scores is None:
            return None
        relevant = np.arange(len(scores)) < len(one.relevant)
        rows.append(value(scores, relevant, within=within))
    return rows


def _scores(side: EngineSide, query: str, one: RankingCandidates) -> F64 | None:
    """Score the candidates of a query, the relevant ones first; of two scores the second means yes."""
    rows: list[F64] = []
    for batch in batches([*one.relevant, *one.others]):
        inputs = side.engine.encode([query] * len(batch), batch)
        if inputs is None:
            return None
        scores = side.engine.outputs_for(side.state, inputs).get(_SCORES)
        if scores is None or scores.ndim != 2 or scores.shape[1] > 2 or len(scores) != len(batch):
            return None
        wide = scores.astype(np.float64)
        rows.append(wide[:, -1] - wide[:, 0] if wide.shape[1] == 2 else wide[:, 0])
    return np.concatenate(rows)


CHECK = Check(
    "reranking",
    run,
    CheckForm(
        "how well it ranks texts for a query",
        {**UNDECIDED, "worse": "fail", "measure": "ndcg", "within": 10},
        counts=("least_samples", "within"),
        choices={"measure": tuple(MEASURES)},
        probes=("ranked",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
