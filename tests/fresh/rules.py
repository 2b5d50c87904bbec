"""What may become of a fresh delta, and why: what is not here is a finding."""

from tests.fresh.outcomes import Outcome

MAY_REFUSE = {
    "ambiguous": "what the library serves is not one function of these files",
    "bad_config": "its config turns the switch by which the class scales its outputs",
    "header": "a tensor of it holds nothing",
    "not_selected": "the library reads its own config differently when it loads, and drops these",
    "not_self_contained": "part of it follows from what is in neither the files nor the base",
    "shape": "its head's bias grew, and is not known to be of the vocabulary",
    "unknown_kind": "where its vectors go in this type of network is not known",
}
"""Code -> what it means where the library itself saved and loads a delta."""

AS_WELL = {"not_selected": {"no_tensor_applied", "partial_application"}}
"""Code -> what says the same of names that the base does not know in any spelling."""

LIBRARY_LOSES = {"lora on the embedding, tied", "lora on the head, tied"}
"""Recipes that peft saves as tied and loads as untied, where names are not the two it knows."""


_UNUSED = ("effect fail: no forward uses", "exercised fail: no forward runs", "exercised skipped: no forward")
_NO_PROBE = "inconclusive: there is no probe"
DOUBTS = ("idle", "norm_ratio", "spectral", *_UNUSED, _NO_PROBE)
"""How doubts begin that may be: of the size of made-up noise, of parts that a class never runs."""


def complaint(outcome: Outcome) -> str:
    """Say what is wrong with an outcome; nothing where it is as it should be."""
    what = _wrong_with(outcome)
    told = f"{outcome.recipe} on {outcome.base}: {outcome.result} {outcome.code}"
    return what and f"{what}: {told} {outcome.error:.1e} {outcome.message}"


def _wrong_with(outcome: Outcome) -> str:
    match outcome.result:
        case "wrong":
            return "silently wrong"
        case "told":
            return "" if outcome.recipe in LIBRARY_LOSES else "wrong, and only verification tells"
        case "doubted":
            return "" if outcome.message.startswith(DOUBTS) else "right, and verification does not pass"
        case "refused":
            return _wrong_with_refusal(outcome)
        case "right":
            return f"not refused as {outcome.refused}" if outcome.refused else ""
        case _:
            return ""


def _wrong_with_refusal(outcome: Outcome) -> str:
    if outcome.refused:
        is_so = outcome.code in {outcome.refused, *AS_WELL.get(outcome.refused, ())}
        return "" if is_so else f"not refused as {outcome.refused}"
    if outcome.converted:  # a command that does not mend it is none
        return "" if outcome.converted == "right" else f"refused, and convert does not mend it ({outcome.converted})"
    is_known = outcome.code in MAY_REFUSE
    is_library = outcome.code != "not_selected" or outcome.recipe in LIBRARY_LOSES
    return "" if is_known and is_library else "refused without need"
