"""Base and delta give here what they gave where the delta was trained.

Outputs are computed again in the dtype that they were recorded in. They must meet two conditions:
no value may be far off, and all of them together may be off by rounding alone, or by a small share
of what the delta does at all. So a delta that was altered a little afterwards shows, where it does
something, and one that does next to nothing is not failed for the rounding of its base. One that was
stored in a coarser dtype than it was trained in may be off by what that takes, which is measured.
"""

from collections.abc import Sequence
from dataclasses import replace

from deltareg.errors import InvalidInput
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.golden import GoldenComparison, GoldenOutputs, compare, distance
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.dtypes import TOLERANCES
from deltareg_verify.engine.engine import DeltaEngine, Outputs, State
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.stored_rounding import is_stored_coarsely, measure_rounding

_CODE, _MISSING, _UNTOLD = "golden_differs", "golden_missing", "not_self_contained"
_OPTIONAL, _IN_TRAINING = "optional", "in_training"
_TIMES_LOST = 2  # the largest of a few draws
_WANTED = (_OPTIONAL, "required", _IN_TRAINING)


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compute the recorded outputs again, with the delta attached."""
    required = spec.parameters["recorded"]
    if required not in _WANTED:
        raise InvalidInput(f"recorded is one of {', '.join(_WANTED)}, not {required!r}")
    golden = case.golden
    if golden is None:
        return _without(case, is_needed=required != _OPTIONAL)
    recorded = golden.origin.description
    if required == _IN_TRAINING and golden.origin.how != "in_training":
        detail = f"{recorded}, and the suite asks for outputs of the training process"
        return Finding("fail", code=_MISSING, detail=detail)
    engine = case.engine.in_dtype(golden.origin.dtype)
    tolerance = spec.number(TOLERANCES[engine.dtype])
    try:
        outputs = _outputs(engine, "attached", golden)
    except InvalidInput as error:
        detail = f"{recorded}; the base does not take the recorded inputs: {error.message}"
        return Finding("fail", None, tolerance, code=_CODE, detail=detail)
    if golden.origin.quantised:
        return _on_packed(golden, engine, compare(golden, outputs, slack=tolerance))
    finding = _judge_outputs(case, spec, engine, golden, outputs)
    untold = _describe_untold(case) if golden.origin.how == "by_library" else ""
    if finding.verdict == "pass" and untold:
        return replace(finding, verdict="warn", code=_UNTOLD, detail=f"{finding.detail}; {untold}")
    return finding


def _judge_outputs(
    case: Case, spec: CheckSpec, engine: DeltaEngine, golden: GoldenOutputs, outputs: Sequence[Outputs]
) -> Finding:
    """Judge outputs by the suite's tolerances, else also by what the stored dtype took from the weights."""
    tolerance = spec.number(TOLERANCES[engine.dtype])
    finding = _judge_comparison(spec, golden, engine, compare(golden, outputs, slack=tolerance))
    if finding.verdict == "pass" or not is_stored_coarsely(case, golden.origin.dtype):
        return finding
    lost = measure_rounding(case, golden, engine, outputs)
    comparison = compare(golden, outputs, slack=max(tolerance, _TIMES_LOST * lost.difference))
    return _judge_comparison(spec, golden, engine, comparison, lost=lost)


def _judge_comparison(
    spec: CheckSpec,
    golden: GoldenOutputs,
    engine: DeltaEngine,
    found: GoldenComparison,
    *,
    lost: GoldenComparison | None = None,
) -> Finding:
    """Judge how far outputs are off, beside what storing the weights took from them where that is known."""
    tolerance, least = spec.number(TOLERANCES[engine.dtype]), spec.number("least_agreement")
    most_lost = 0.0
    if lost is not None:
        most_lost = _TIMES_LOST * lost.distance
        tolerance = max(tolerance, _TIMES_LOST * lost.difference)
    agreement = f"top-1 agrees at {found.agreement:.1%} of the positions"
    stored = "" if lost is None else f"; the dtype that it is stored in moves outputs by {lost.distance:.2g}"
    detail = f"{golden.origin.description}; {found.output}, {agreement}{stored}"
    other = f"{golden.origin.description}; now it gives other {found.output}: {agreement}{stored}"
    # A NaN is not within any tolerance.
    if not (found.difference <= tolerance and found.agreement >= least):
        return Finding("fail", found.difference, tolerance, code=_CODE, detail=other)
    if not golden.origin.dtype:  # of the release before: nobody said what it was computed in
        return Finding("pass", found.difference, tolerance, detail=detail)
    rounding = max(most_lost, spec.number(f"rms_{TOLERANCES[engine.dtype]}") * max(1.0, found.scale))
    if found.distance <= rounding:
        return Finding("pass", found.distance, rounding, detail=detail)
    effect = distance(golden, _outputs(engine, "base", golden))
    most = max(rounding, spec.number("share") * effect)
    off = f"all are off by {found.distance:.2g}, of an effect of {effect:.2g}"
    if found.distance <= most:
        return Finding("pass", found.distance, most, detail=f"{detail}; {off}")
    return Finding("fail", found.distance, most, code=_CODE, detail=f"{other}; {off}")


def _on_packed(golden: GoldenOutputs, engine: DeltaEngine, found: GoldenComparison) -> Finding:
    """Compare outputs of a packed base with those of one that is not, or is unpacked otherwise.

    Packing moves every value, so it is enough that they are nearer to what base and delta give
    together than to the base alone.
    """
    alone = distance(golden, _outputs(engine, "base", golden))
    detail = f"{golden.origin.description}, on a base packed as {golden.origin.quantised}"
    if found.distance <= alone:
        detail = f"{detail}; nearer to base and delta than to the base alone"
        return Finding("pass", found.distance, alone, detail=detail)
    detail = f"{detail}; nearer to the base alone than to base and delta"
    return Finding("fail", found.distance, alone, code=_CODE, detail=detail)


def _outputs(engine: DeltaEngine, state: State, golden: GoldenOutputs) -> Sequence[Outputs]:
    return [engine.outputs_for(state, sample.inputs) for sample in golden.samples]


def _without(case: Case, *, is_needed: bool) -> Finding:
    """Report that nothing was recorded: a failure where the suite needs it, a warning where the account does."""
    reason = "the version was pushed without golden outputs"
    if is_needed:
        detail = f"{reason}, which the suite asks for: deltareg golden record"
        return Finding("fail", code=_MISSING, detail=detail)
    untold = _describe_untold(case)
    return Finding("warn", code=_UNTOLD, detail=untold) if untold else Finding("n/a", detail=reason)


def _describe_untold(case: Case) -> str:
    """Describe what only outputs of the training process would show; empty where files and base tell all.

    The files are right as every library reads them, so it is no failure.
    """
    told = (problem.message for problem in case.account.problems if problem.code == _UNTOLD)
    return next((f"{message}; golden outputs recorded in training would show it" for message in told), "")


CHECK = Check(
    "golden",
    run,
    CheckForm(
        "it gives what it gave to the one who trained it",
        {
            "f32": "0.001",
            "bf16": "0.2",
            "f16": "0.05",
            "least_agreement": "0.95",
            "rms_f32": "0.00005",
            "rms_bf16": "0.03",
            "rms_f16": "0.004",
            "share": "0.02",
            "recorded": "optional",
        },
        may_not_apply=True,
        fix="compare the base, the checkpoint, lora_alpha and r with the training",
    ),
)
