"""A task of lm-evaluation-harness, with the delta and beside the base or the promoted version."""

from importlib.util import find_spec

from deltareg.suites.catalogue import UNDECIDED, CheckForm
from deltareg.suites.lm_task import LmEvalOptions, LmTask, asked_of
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.changes import EngineSide, MeasureChange
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.task_measure import measure, no_number
from deltareg_verify.judging.threshold_rule import as_change, compare_with_rivals

_PACKAGE = "lm_eval"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Run the task on both, and compare row by row."""
    task = case.task(spec.probes)
    asked = asked_of(spec, task)
    if find_spec(_PACKAGE) is None:
        return Finding("skipped", detail="this worker has no lm-eval; pip install 'deltareg[lm-eval]' there")
    return _compare_scores(case, spec, task=task, asked=asked)


def _compare_scores(case: Case, spec: CheckSpec, *, task: LmTask, asked: LmEvalOptions) -> Finding:
    from deltareg_verify.judging.lm_harness import LmAnswers, ask  # optional, and dear to import

    answers: dict[tuple[int, str], LmAnswers | None] = {}
    seed = case.suite.seed

    def answers_of(side: EngineSide) -> LmAnswers | None:
        key = (id(side.engine), side.state)
        if key not in answers:
            tokenizer = side.engine.tokenizer()
            answers[key] = (
                None
                if tokenizer is None
                else ask(side.engine, side.state, tokenizer, task=task, asked=asked, seed=seed)
            )
        return answers[key]

    def change(before: EngineSide, after: EngineSide, _count: int) -> MeasureChange | None:
        ours, rest = answers_of(after), answers_of(before)
        if ours is None or rest is None:
            return None
        measures = measure(ours.values, rest.values, by=asked.aggregation, aggregate=ours.aggregate, seed=seed)
        if not ours.is_sane:
            measures = no_number(ours.values, measures.baseline)
        return as_change(measures.found, measures.baseline, measures.change)

    ours = answers_of(EngineSide(case.engine, "attached"))
    version = "" if ours is None else f", by lm-eval {ours.version}"
    told, needs = f"{asked.metric} of {task.name}{version}", "a generative head and a tokenizer in the base"
    return compare_with_rivals(
        case, spec, change, planned=(0 if ours is None else len(ours.values),), told=told, needs=needs
    )


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
