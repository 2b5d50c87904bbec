"""What to do about a failed check, in a line: the check's own fix, or one for what was found."""

from collections.abc import Mapping

MOST_CHARACTERS = 72

# Codes that call for something else than the rest of their check does, and the codes of measures.
CODE_FIXES: Mapping[str, str] = {
    "base_unmeasured": "mend the base and push it, or ask again: deltareg verify REF --again",
    "base_mismatch": "push the version that is its base again, then verify this one",
    "below_threshold": "see what was asked: deltareg suite show SUITE",
    "cancelled": "let it run to its end: deltareg verify REF --again --wait",
    "golden_missing": "record outputs where it was trained: deltareg golden --help",
    "library_absent": "install that library beside the worker",
    "missing_measure": "take a suite that fits this kind of network: deltareg suite ls",
    "nothing_to_compare": 'promote a first version, or let the suite say why: "n/a": REASON',
    "regression": "see what changed: deltareg diff OLD NEW --mode behavior",
    "out_of_time": "ask again, behind all other work: deltareg verify REF --again",
    "undecided": "give the suite more samples, or a wider margin",
    "unexpected_tensors": "see which tensors fit nothing: deltareg lint FOLDER --base BASE",
    "worse_incumbent": "promote this one: it is the served version that got worse",
    "worse_than_base": "push an earlier checkpoint, or train with a lower learning rate",
}


def fix_of(check: str, code: str) -> str:
    """Return what to do about a failed check; where nothing is known of it, the page of its code.

    Args:
        check: The name that the verdict has for it; a suite may have named it otherwise.
        code: The code that it failed with; may be empty.
    """
    if code in CODE_FIXES:
        return CODE_FIXES[code]
    from deltareg.suites.catalogue import CATALOGUE  # reads a file

    form = CATALOGUE.get(check)
    if form is not None and form.fix:
        return form.fix
    return f"read on: deltareg explain {code}" if code else "see what it found: deltareg verdict logs REF"
