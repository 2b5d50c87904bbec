"""How many texts find their answers among all texts: an embedder, by its own pooling.

A line of the probe set is a query, what is relevant to it, and what is not; every query searches
the texts of all lines.
"""

from functools import partial

import numpy as np

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.probe_set import Samples
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.engine.measures.embeddings import POOLINGS, embeddings
from deltareg_verify.engine.measures.ranking import MEASURES
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.sample_comparison import SampleMeasure, rows_compared


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare how well both find the answers, query by query."""
    which, within = str(spec.parameters["measure"]), int(spec.number("within"))
    return rows_compared(
        case,
        spec,
        partial(_values, spec),
        SampleMeasure(
            description=f"{which} at {within}", needs="vectors of tokens or of whole texts, and a tokenizer in the base"
        ),
    )


def _values(spec: CheckSpec, side: EngineSide, samples: Samples) -> list[object] | None:
    pooling, within = str(spec.parameters["pooling"]), int(spec.number("within"))
    texts = [text for one in samples.candidates for text in (*one.relevant, *one.others)]
    corpus = list(dict.fromkeys(texts))
    queries = embeddings(side, samples.texts, pooling=pooling)
    vectors = embeddings(side, corpus, pooling=pooling)
    if queries is None or vectors is None:
        return None
    value = MEASURES[str(spec.parameters["measure"])]
    places = {text: place for place, text in enumerate(corpus)}
    rows: list[object] = []
    for scores, one in zip(queries @ vectors.T, samples.candidates, strict=True):
        relevant = np.zeros(len(corpus), np.bool_)
        relevant[[places[text] for text in one.relevant]] = True
        rows.append(value(scores, relevant, within=within))
    return rows


CHECK = Check(
    "text_retrieval",
    run,
    CheckForm(
        "how many texts find their answers among all",
        {**UNDECIDED, "worse": "fail", "measure": "recall", "within": 10, "pooling": "own"},
        counts=("least_samples", "within"),
        choices={"measure": tuple(MEASURES), "pooling": POOLINGS},
        probes=("ranked",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
