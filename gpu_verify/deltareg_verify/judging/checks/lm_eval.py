"""A task of lm-evaluation-harness, with the delta and beside the base or the promoted version."""

from importlib.util import find_spec

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.lm_task import LmEvalOptions, LmTask, asked_of
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.task_measure import measure, no_number
from deltareg_verify.judging.threshold_rule import judge_measure, missing, no_rival, rival

_PACKAGE = "lm_eval"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Run the task on both, and compare row by row."""
    other = rival(case, spec)
    if other is None:
        return no_rival(case, spec, spec.against)
    task = case.task(spec.probes)
    asked = asked_of(spec, task)
    if find_spec(_PACKAGE) is None:
        return Finding("skipped", detail="this worker has no lm-eval; pip install 'deltareg[lm-eval]' there")
    return _compare_scores(case, spec, other, task=task, asked=asked)


def _compare_scores(case: Case, spec: CheckSpec, other: EngineSide, *, task: LmTask, asked: LmEvalOptions) -> Finding:
    from deltareg_verify.judging.lm_harness import ask  # optional, and dear to import

    tokenizer, theirs = case.engine.tokenizer(), other.engine.tokenizer()
    if tokenizer is None or theirs is None:
        return missing(spec, "needs a generative head and a tokenizer in the base")
    seed = case.suite.seed
    ours = ask(case.engine, "attached", tokenizer, task=task, asked=asked, seed=seed)
    rest = ask(other.engine, other.state, theirs, task=task, asked=asked, seed=seed)
    measures = measure(ours.values, rest.values, by=asked.aggregation, aggregate=ours.aggregate, seed=seed)
    if not ours.is_sane:
        measures = no_number(ours.values, measures.baseline)
    detail = f"{asked.metric} of {task.name}, by lm-eval {ours.version}"
    other_name = case.describe_rival(spec.key_of(spec.against))
    return judge_measure(spec, measures.found, measures.baseline, told=detail, change=measures.change, other=other_name)


CHECK = Check(
    "lm_eval",
    run,
    CheckForm(
        "a task of lm-eval, offline",
        {**UNDECIDED, "worse": "fail", "metric": None, "filter": "only", "limit": 0, "num_fewshot": "task"},
        counts=("least_samples", "limit"),
        probes=("task",),
        takes_threshold=True,
        against=("base", "promoted"),
        may_not_apply=True,
    ),
)
