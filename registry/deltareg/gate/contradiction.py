"""A pass after a failure of the very same thing: nobody knows which of the two to believe.

Verdicts that count have the same bindings: bytes, base, suite, seed, dtype, verifier. So one of two
that differ is wrong, or what they measure is decided by chance. Neither is taken until a third run,
on another worker than the one that passed it, has said which: it is settled once two workers have
passed what was failed before.
"""

from collections.abc import Sequence

from deltareg.gate.verdict_facts import VerdictFact


def find_contradicted(counting: Sequence[VerdictFact]) -> VerdictFact | None:
    """Give the failure that a pass contradicts; None where there is none, or it is settled.

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
    """Whether two workers signed some passes, each with a key of its own."""
    signers = [verdict.signer for verdict in passes if verdict.signer.worker]
    return any(
        one.worker != other.worker and one.keyid != other.keyid
        for number, one in enumerate(signers)
        for other in signers[:number]
    )


def _contradicts(verdict: VerdictFact, newest: VerdictFact) -> bool:
    is_alike = (verdict.compared_with, verdict.dtype) == (newest.compared_with, newest.dtype)
    return verdict.outcome == "fail" and not verdict.is_waived and is_alike
