"""A pass after a failure with the same bindings: it is unknown which of the two is right.

Verdicts that count have the same bindings: bytes, base, suite, seed, dtype, verifier. So if two
differ, one of them is wrong, or their measure depends on chance. Neither counts until a third run,
on another worker than the one that passed it, decides: two passing workers settle it.
"""

from collections.abc import Sequence

from deltareg.gate.verdict_facts import VerdictFact


def find_contradicted(counting: Sequence[VerdictFact]) -> VerdictFact | None:
    """Return the failure that a pass contradicts; None if there is none or it is settled.

    Args:
        counting: The verdicts of a suite that count, newest first.
    """
    if not counting or counting[0].outcome != "pass":
        return None
    newest, passes = counting[0], list[VerdictFact]()
    for verdict in counting:
        if verdict.outcome == "pass":
            passes.append(verdict)
        elif _contradicts(verdict, newest) and verdict.id not in {one.continues for one in passes}:
            return None if _are_of_two(passes) else verdict
    return None


def _are_of_two(passes: Sequence[VerdictFact]) -> bool:
    """Whether two workers, each with its own key, signed some of the passes."""
    signers = [verdict.signer for verdict in passes if verdict.signer.worker]
    return any(
        one.worker != other.worker and one.keyid != other.keyid
        for number, one in enumerate(signers)
        for other in signers[:number]
    )


def _contradicts(verdict: VerdictFact, newest: VerdictFact) -> bool:
    is_alike = verdict.compared_with == newest.compared_with
    if verdict.failed_before_end:  # before anybody said in which dtype
        return is_alike
    is_alike = is_alike and verdict.dtype == newest.dtype
    return verdict.outcome == "fail" and not verdict.is_waived and is_alike
