"""The folded model loads by the class that its config names, completely, with the folded values.

Folding a delta makes a folder that others load without checking. A tied weight that is written
under one of its names only, or a head for which the class has no place, is dropped or newly
initialised there without an error, and no forward of the network in memory shows it.
"""

from collections.abc import Sequence

from deltareg.delta.kind import Addition
from deltareg.documents.json_values import is_list
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.arrays import largest_difference, root_mean_square
from deltareg_verify.engine.case import Case
from deltareg_verify.engine.dtypes import TOLERANCES
from deltareg_verify.engine.engine import ReloadOutcome
from deltareg_verify.judging.check import Check, Finding

CODE = "not_reloadable"


def run(case: Case, spec: CheckSpec) -> Finding:
    """Load the folded model, and compare its outputs with those in memory."""
    engine = case.engine
    if not engine.is_foldable:
        return Finding("n/a", detail="the delta acts on activations and can only be attached")
    reloaded = engine.reload_folded(case.folded_config)
    architecture = _class_of(case)
    lost = _describe_lost(reloaded)
    if lost and not _is_unnamed_head(case, reloaded):
        detail = f"loaded as {architecture}, {lost}"
        count = sum(map(len, (reloaded.missing, reloaded.unexpected, reloaded.mismatched)))
        return Finding("fail", count, 0, code=CODE, detail=detail)
    if lost:
        detail = f"no config names the class of the new head: loaded as {architecture}, {lost}"
        return Finding("warn", len(reloaded.unexpected), 0, code=CODE, detail=detail)
    outputs = case.outputs("folded") if reloaded.is_same else reloaded.outputs
    if outputs is None:
        summary = "every tensor has its place; it does not fit in memory at once, so it did not run"
        return Finding("pass", 0, 0, detail=f"as {architecture}, {summary}")
    tolerance = spec.number(TOLERANCES[engine.dtype])
    scale = max(1.0, root_mean_square(case.outputs("base")))
    difference = largest_difference(case.outputs("folded"), outputs) / scale
    if difference <= tolerance:
        return Finding("pass", difference, tolerance, detail=f"as {architecture}")
    # A NaN comes here too: it is not within any tolerance.
    detail = f"loaded as {architecture}, it gives other outputs than folded in memory"
    return Finding("fail", difference, tolerance, code=CODE, detail=detail)


def _class_of(case: Case) -> str:
    architectures = case.folded_config.get("architectures")
    return str(architectures[0]) if is_list(architectures) and architectures else "its plain network"


def _describe_lost(reloaded: ReloadOutcome) -> str:
    """Describe the tensors that do not arrive; empty when all do."""
    kinds = {
        "it newly initialises": reloaded.missing,
        "it has no place for": reloaded.unexpected,
        "of another shape is": reloaded.mismatched,
    }
    return "; ".join(f"{verb} {_few(names)}" for verb, names in kinds.items() if names)


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _is_unnamed_head(case: Case, reloaded: ReloadOutcome) -> bool:
    """Return whether only an unnamed head is lost, which is the delta's own lack."""
    network_class = case.account.network_class
    if network_class is None or not network_class.is_guess or reloaded.missing or reloaded.mismatched:
        return False
    added = {e.target for e in case.account.effects if isinstance(e, Addition)}
    return set(reloaded.unexpected) <= added


CHECK = Check(
    "reloads",
    run,
    CheckForm(
        "folded, it loads whole by the class that its config names, and gives the same",
        {"f32": "0.00001", "bf16": "0.02", "f16": "0.005"},
        may_not_apply=True,
        fix="save it with a config.json that names the class of the network",
    ),
)
