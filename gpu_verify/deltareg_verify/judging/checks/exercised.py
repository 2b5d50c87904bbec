"""Every tensor that the delta saved or added took part in a forward.

`effect` checks this for changes of the base. A new head changes nothing there: it shows only in the
class that has a place for it, which is found by the delta's config and then by its names.
"""

from collections.abc import Sequence

from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.unused_weights import find_unused, lacking

_CODE = "partial_application"


def run(case: Case, _spec: CheckSpec) -> Finding:
    """Run one attached forward and look for tensors that took no part."""
    fired = case.fired
    if fired.homeless:  # the network in memory is not the one that the files are of
        places = ", ".join(fired.homeless[:3])
        return Finding("skipped", detail=f"the network in memory has no place for {places}")
    idle = sorted({*fired.not_exercised, *find_unused(case)[0]})
    count = len(case.account.roles)
    if idle:
        is_homeless = len(idle) == len({*fired.not_exercised})  # nobody here can say whether it is any good
        is_behind = bool(fired.undrawn) and not is_homeless
        why = lacking(fired) if is_behind else _why(case, fired.not_exercised)
        detail = f"no forward runs {', '.join(idle[:3])}; {why}"
        if is_homeless or is_behind:
            return Finding("skipped", len(idle), 0, detail=detail)
        return Finding("fail", len(idle), 0, code=_CODE, detail=detail)
    return Finding("pass", 0, 0, detail=f"{count} tensors took part{_where(case)}")


def _where(case: Case) -> str:
    """Name the class that the tensors ran on, when it is not the base's."""
    network_class = case.account.network_class
    if network_class is None:
        return ""
    suffix = f", in {network_class.architecture}"
    return f"{suffix}: no config names a class, and this has their place" if network_class.is_guess else suffix


def _why(case: Case, homeless: Sequence[str]) -> str:
    if not homeless:
        return "the probe does not reach it"
    kind = case.base.view.names.model_type or "base"
    return f"no class of a {kind} here has a place for {homeless[0]}"


CHECK = Check(
    "exercised",
    run,
    CheckForm("every tensor takes part in a forward", fix="is it this base? else leave out what no forward uses"),
)
