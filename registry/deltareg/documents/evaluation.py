"""Evaluations that another system made: numbers by name, out of the JSON that it wrote.

Two forms are read: the `results.json` of lm-evaluation-harness, whose metrics are named
`TASK/METRIC` here, with the filter behind where it is not `none`, and `{"metrics": {NAME: NUMBER}}`
of everybody else. Standard errors and numbers of samples are left out. All else in the file is for its readers.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final

from deltareg.documents.json_values import is_object
from deltareg.errors import InvalidInput

EVALUATION: Final = "urn:deltareg:attestation:evaluation:v1"
"""The type of an in-toto predicate that is an evaluation in one of these forms."""
MOST_METRICS: Final = 500
_MOST_NAME = 200
_SAMPLES = "sample_len"
_FIX = 'bring the results.json of lm-evaluation-harness, or {"metrics": {"NAME": NUMBER}}'


def is_evaluation(fields: Mapping[str, object]) -> bool:
    """Whether a document is meant as an evaluation in one of the two forms."""
    return "metrics" in fields or "results" in fields


def read_evaluation(fields: Mapping[str, object]) -> dict[str, float]:
    """Read the metrics of an evaluation, by name.

    Raises:
        InvalidInput: It is in neither form or in both, has no metrics or too many, or one of them
            is no finite number.
    """
    if ("metrics" in fields) == ("results" in fields):
        raise InvalidInput("no evaluation: it has `metrics` or `results`, and one of them", fix=_FIX)
    pairs = list(_plain(fields["metrics"]) if "metrics" in fields else _by_task(fields["results"]))
    if not 0 < len(pairs) <= MOST_METRICS:
        raise InvalidInput(f"no evaluation: it has {len(pairs)} metrics, and 1 to {MOST_METRICS} are read", fix=_FIX)
    metrics: dict[str, float] = {}
    for name, value in pairs:
        if not name.strip() or len(name) > _MOST_NAME or not name.isprintable():
            raise InvalidInput(f"no evaluation: a metric has no name of 1 to {_MOST_NAME} characters", fix=_FIX)
        if name in metrics:
            raise InvalidInput(f"no evaluation: it says {name} twice", fix=_FIX)
        metrics[name] = _finite(name, value)
    return metrics


def _plain(value: object) -> Iterator[tuple[str, object]]:
    if not is_object(value):
        raise InvalidInput("no evaluation: its metrics are no names and numbers", fix=_FIX)
    yield from value.items()


def _by_task(value: object) -> Iterator[tuple[str, object]]:
    """Name the numbers of each task; other values, such as its alias or `N/A`, are no metrics."""
    if not is_object(value):
        raise InvalidInput("no evaluation: its results are no tasks", fix=_FIX)
    for task, found in value.items():
        if not is_object(found):
            raise InvalidInput(f"no evaluation: the results of {task[:80]} are no metrics", fix=_FIX)
        for key, number in found.items():
            metric, _, kept = key.partition(",")
            if _is_number(number) and not metric.endswith("_stderr") and metric != _SAMPLES:
                yield f"{task}/{metric}" + (f"/{kept}" if kept not in {"", "none"} else ""), number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInput(f"no evaluation: {name} is no finite number", fix=_FIX)
    return number
