"""The library that wrote the delta gives the same outputs as the engine here.

Attached and folded are two ways of one reading. This is an independent reading: the library loads
base and delta by itself, from the same files, and a config that means something else to it shows.
"""

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.arrays import find_overlap, root_mean_square
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.dtypes import TOLERANCES
from deltareg_verify.engine.engine import Outputs, SecondOpinion
from deltareg_verify.judging.check import Check, Finding

_DIFFERS, _ABSENT = "library_differs", "library_absent"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Compare the library's outputs on the probe with the attached ones."""
    library = case.manifest.source.library
    if library in {"", "deltareg", "transformers"}:
        return Finding("n/a", detail="no library reads it beside transformers, see reloads")
    opinion = case.engine.second_opinion(library, case.folder.path)
    if not opinion.version:
        return _absent(spec, opinion)
    name = f"{opinion.library} {opinion.version}"
    if opinion.refusal and _is_of_older_names(case):
        detail = "its names are of an earlier transformers, and the library finds none of them"
        return Finding("warn", code=_DIFFERS, detail=f"{name} does not load it: {detail}")
    if opinion.outputs is None and opinion.fault:  # it cannot show anything, and says so to everybody
        return Finding("warn", code=_DIFFERS, detail=f"{name} loads it, no more: {opinion.fault}")
    if opinion.outputs is None:
        return Finding("fail", code=_DIFFERS, detail=f"{name} does not load it: {opinion.refusal}")
    return _compare_outputs(case, spec, opinion.outputs, name)


def _compare_outputs(case: Case, spec: CheckSpec, outputs: Outputs, name: str) -> Finding:
    """Compare the difference with the delta's effect, and with rounding."""
    base, ours = case.outputs("base"), case.outputs("attached")
    alike = [key for key in ours if key in outputs and outputs[key].shape == ours[key].shape]
    if not alike:
        return Finding("fail", code=_DIFFERS, detail=f"{name} gives outputs of other shapes")
    effect = _distance({key: base[key] for key in alike if key in base}, ours)
    difference = _distance({key: ours[key] for key in alike}, outputs)
    scale = max(root_mean_square(base), root_mean_square(ours))
    noise = spec.number(TOLERANCES[case.engine.dtype]) * scale
    tolerance = max(noise, spec.number("share") * effect)
    detail = f"{name}: {difference:.2g} of an effect of {effect:.2g}"
    if not difference <= tolerance:
        return Finding("fail", difference, tolerance, code=_DIFFERS, detail=detail)
    if effect < noise:
        detail += f", which is within the rounding of {case.engine.dtype}"
    return Finding("pass", difference, tolerance, detail=detail)


def _is_of_older_names(case: Case) -> bool:
    """Return whether the delta names modules as an older transformers than the worker's did.

    That is no silent mistake: the library reports that it finds nothing and loads nothing.
    """
    names = case.base.view.names
    return any(names.apply_renames(tensor.name) != tensor.name for tensor in case.manifest.tensors)


def _absent(spec: CheckSpec, found: SecondOpinion) -> Finding:
    reason = "it is not installed, or does not take such a delta by itself"
    detail = f"this worker cannot ask {found.library}: {reason}"
    is_needed = spec.parameters["absent"] == "fail"
    return Finding("fail" if is_needed else "warn", code=_ABSENT, detail=detail)


def _distance(some: Outputs, others: Outputs) -> float:
    """Return the root mean square of the difference, over the outputs of the first."""
    pairs = {name: (value, others[name]) for name, value in some.items()}
    return root_mean_square(
        {
            name: value[find_overlap(value, other)] - other[find_overlap(value, other)]
            for name, (value, other) in pairs.items()
        }
    )


CHECK = Check(
    "library_agrees",
    run,
    CheckForm(
        "the library that wrote it, asked itself, gives the same",
        {"f32": "0.00002", "bf16": "0.02", "f16": "0.005", "share": "0.001", "absent": "warn"},
        may_not_apply=True,
    ),
)
