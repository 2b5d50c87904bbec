"""Which verdicts count for a version on a channel, and the conditions for the deciding one.

A verdict is bound to the manifest, the base, the suite, the suite's seed and dtype, the verifier's
version and, if it was made for a channel, that channel's policy. If any of these has changed, the
verdict does not count. Among those that count the newest decides (ADR 26).
"""

from collections.abc import Sequence

from deltareg.gate.ages import tell_age
from deltareg.gate.agreement import disagreement, independent_of
from deltareg.gate.contradiction import find_contradicted
from deltareg.gate.policy import EVIDENCE, Policy
from deltareg.gate.required_suites import RequiredSuite, write_age
from deltareg.gate.ruling import Rule, Ruling
from deltareg.gate.signers import why_untrusted
from deltareg.gate.verdict_facts import NEVER_WAIVED, SuiteFact, VerdictConditions, VerdictFact, VerdictSubject
from deltareg.gate.verifier import VERIFIER, environment_key, is_current_verifier

_US_PER_S = 1_000_000


def rule_on_suite(
    subject: VerdictSubject,
    required: RequiredSuite,
    policy: Policy,
    verdicts: Sequence[VerdictFact],
    *,
    suite: SuiteFact | None,
    bound: VerdictConditions,
    now_us: int,
) -> list[Ruling]:
    """Judge whether a version has the verdict of a suite that a policy requires.

    Args:
        subject: The version.
        required: The suite.
        policy: The whole policy.
        verdicts: Of the version, newest first.
        suite: The current suite; None if there is no suite of that name.
        bound: Further conditions for a verdict to count.
        now_us: The database's time.
    """
    name = required.name
    if suite is None:
        message = f"there is no suite {name}, which the policy asks for"
        return [Ruling("missing", message, fix="deltareg suite ls; then change the policy", suite=name)]
    if not suite.is_for_gates:
        message = f"{_never(name)}, and the policy asks for it"
        fix = "change the policy: deltareg channel policy set NS/NAME CHANNEL FILE"
        return [Ruling("missing", message, fix=fix, suite=name)]
    of_suite = [verdict for verdict in verdicts if verdict.suite == name]
    if not bound.signers.is_local_taken:  # they say nothing here, unless there is nothing else
        of_suite = [verdict for verdict in of_suite if not verdict.signer.is_local] or of_suite
    reasons = [why_not(verdict, subject, suite, bound=bound) for verdict in of_suite]
    counting = [verdict for verdict, reason in zip(of_suite, reasons, strict=True) if reason is None]
    if counting:
        newest, failed = counting[0], find_contradicted(counting)
        if failed is not None:
            return [_on_contradiction(subject, newest, failed, now_us=now_us)]
        rulings = _rule_on_verdict(subject, required, policy, newest, suite=suite, bound=bound, now_us=now_us)
        if policy.independent > 1 and rulings[0].rule == "verdict":
            rulings.append(_rule_on_others(subject, policy, counting, suite))
        return rulings
    if reasons and reasons[0] is not None:
        rule, message = reasons[0]
        message = f"{tell(of_suite[0], now_us=now_us)}, does not count: {message}"
        return [Ruling(rule, message, fix=_verify(subject, name, again=True), suite=name)]
    message = f"{subject.description} has no verdict of suite {name}"
    return [Ruling("missing", message, fix=_verify(subject, name), suite=name)]


def why_not(
    verdict: VerdictFact, subject: VerdictSubject, suite: SuiteFact, *, bound: VerdictConditions
) -> tuple[Rule, str] | None:
    """Return the rule and the reason why a verdict does not count; None if it does.

    Args:
        verdict: The verdict, of this suite by name.
        subject: The version.
        suite: The current suite.
        bound: Further conditions for it to count.
    """
    about = _why_foreign(verdict, subject, suite)
    if about is not None:
        return about
    if verdict.outcome == "inconclusive" and not verdict.verifier:
        return None  # it was not made: the run came to nothing
    untrusted = why_untrusted(verdict.signer, bound.signers, is_pass=verdict.is_pass)
    if untrusted is not None:
        return untrusted
    if not is_current_verifier(verdict.verifier):
        maker = verdict.verifier.partition(" ")[0] or "nobody"
        return "verifier", f"it was made by {maker}, which {VERIFIER} has replaced"
    # A failure is about the bytes, whatever policy it was asked for: it is never forgotten.
    is_of_policy = verdict.policy_digest in {"", bound.policy_digest} or verdict.outcome != "pass"
    if bound.policy_digest is not None and not is_of_policy:
        return "policy", "it was asked for under another policy"
    return _why_other(verdict, suite, bound)


def tell(verdict: VerdictFact, *, now_us: int) -> str:
    """Describe a verdict: `smoke: pass with 2 warnings, 3 h ago (1f3c…)`."""
    outcome: str = verdict.outcome
    if outcome == "fail" and verdict.is_pass:
        outcome = "pass with waivers"
    if verdict.is_pass and verdict.look().warned:
        joined = " and" if verdict.is_waived else " with"
        outcome += f"{joined} {tell_warnings(len(verdict.look().warned))}"
    age = tell_age((now_us - verdict.created_us) / _US_PER_S)
    return f"{verdict.suite}: {outcome}, {age} ago ({verdict.id[:8]})"


def tell_warnings(count: int) -> str:
    """Format a number of warnings."""
    return f"{count} warning" + ("" if count == 1 else "s")


def _why_foreign(verdict: VerdictFact, subject: VerdictSubject, suite: SuiteFact) -> tuple[Rule, str] | None:
    was_made = verdict.outcome != "inconclusive"  # else it may have ended before there was a seed
    differences: list[tuple[bool, Rule, str]] = [
        (not suite.is_for_gates, "missing", _never(verdict.suite)),
        (verdict.manifest != str(subject.manifest), "foreign", f"it is about other bytes, {_short(verdict.manifest)}"),
        (verdict.base != str(subject.base), "foreign", f"it is about another base, {_short(verdict.base)}"),
        (subject.identity not in {"", verdict.identity}, "foreign", _other_identity(verdict.identity)),
        (verdict.suite_digest != str(suite.digest), "suite_changed", "the suite has changed since"),
        (
            was_made and verdict.seed != suite.seed,
            "foreign",
            f"it was made with seed {verdict.seed}, the suite says {suite.seed}",
        ),
        (
            was_made and suite.dtype not in {"", verdict.dtype},
            "foreign",
            f"it was made in {verdict.dtype}, the suite says {suite.dtype}",
        ),
    ]
    return next(((rule, reason) for differs, rule, reason in differences if differs), None)


def _rule_on_verdict(
    subject: VerdictSubject,
    required: RequiredSuite,
    policy: Policy,
    verdict: VerdictFact,
    *,
    suite: SuiteFact,
    bound: VerdictConditions,
    now_us: int,
) -> list[Ruling]:
    detail = tell(verdict, now_us=now_us)
    unmet = _why_no_pass(subject, required.name, verdict, detail)
    if unmet is not None:
        return [unmet]
    name = required.name
    again = _verify(subject, name, again=True)
    waived = "".join(f"; {check} waived {until}" for check, until in sorted(verdict.waived.items()))
    rulings = [Ruling("verdict", f"{detail}{waived}", suite=name)]
    empty = [check for check, may in suite.required.items() if not may and _is_empty(verdict, check)]
    if empty:  # of a release that took it for shown
        message = f"{detail}: {', '.join(empty)} had nothing to compare with"
        return [Ruling("inconclusive", message, fix=again, suite=name)]
    open_checks = [check for check in verdict.look().undecided if check in suite.decisive]
    rulings += [_on_undecided(subject, verdict, check, suite=name) for check in open_checks]
    if bound.accepted is not None:
        warned = [check for check in verdict.look().warned if check not in open_checks]
        rulings += _on_warnings(subject, verdict, warned, bound.accepted, suite=name)
    age_s = (now_us - verdict.created_us) / _US_PER_S
    conditions: list[tuple[Rule, bool, str]] = []
    if required.max_age_s is not None:
        most = write_age(required.max_age_s)
        conditions.append(("stale", age_s <= required.max_age_s, f"{detail}, may be {most} old"))
    if policy.sandbox:
        lacking = [layer for layer in policy.sandbox if layer not in verdict.sandbox.split()]
        layers = f"lacking {', '.join(lacking)}" if lacking else f"with {', '.join(policy.sandbox)}"
        conditions.append(("sandbox", not lacking, f"{name}: made in a sandbox {layers}"))
    if policy.evidence:
        is_enough = _rank(verdict.evidence) >= _rank(policy.evidence)
        least = f"{name}: base evidence {verdict.evidence or 'none'}, at least {policy.evidence}"
        conditions.append(("evidence", is_enough, f"{least} is asked"))
    for rule, is_met, message in conditions:
        fix = "" if is_met else _FIXES.get(rule, "{again}").format(again=again)
        rulings.append(Ruling(rule, message, fix=fix, suite=name))
    return rulings


def independent_passes(verdicts: Sequence[VerdictFact], suite: SuiteFact) -> list[VerdictFact]:
    """Return the newest verdict, with the verdicts of independent workers that agree with it.

    Args:
        verdicts: The verdicts that count for a suite, newest first.
        suite: The suite.
    """
    passes = list(verdicts[:1])
    for verdict in verdicts[1:]:
        is_another = verdict.is_pass and independent_of(verdict.signer, [one.signer for one in passes])
        if not is_another or verdict.disputed:
            continue
        checks = passes[0].look().checks
        if not disagreement(checks, verdict.look().checks, required=suite.required, tolerance=suite.tolerance):
            passes.append(verdict)
    return passes


def _rule_on_others(
    subject: VerdictSubject, policy: Policy, counting: Sequence[VerdictFact], suite: SuiteFact
) -> Ruling:
    """Require as many agreeing independent workers as the policy says."""
    name = counting[0].suite
    signers = [verdict.signer.description for verdict in independent_passes(counting, suite)]
    detail = f"{name}: {len(signers)} of {policy.independent} independent workers agree"
    message = f"{detail}: {', '.join(signers)}"
    if len(signers) >= policy.independent:
        return Ruling("independent", message, suite=name)
    return Ruling("independent", message, fix=_elsewhere(subject, name), suite=name)


def _on_contradiction(subject: VerdictSubject, newest: VerdictFact, failed: VerdictFact, *, now_us: int) -> Ruling:
    """Report a pass that contradicts an earlier failure, and what settles it."""
    checks = ", ".join(failed.failed_before_end or failed.standing_failures) or "it"
    message = (
        f"{tell(newest, now_us=now_us)}, and {checks} failed"
        f" {tell_age((now_us - failed.created_us) / _US_PER_S)} ago ({failed.id[:8]}) under the same bindings:"
        " a third run on another worker decides"
    )
    fix = _elsewhere(subject, newest.suite)
    return Ruling("inconclusive", message, fix=fix, suite=newest.suite)


def _why_no_pass(subject: VerdictSubject, suite: str, verdict: VerdictFact, told: str) -> Ruling | None:
    """Return what keeps a verdict that counts from being a pass; None if it is one."""
    again = _verify(subject, suite, again=True)
    if verdict.disputed:
        message = f"{told}: two workers disagree, {verdict.disputed}"
        return Ruling("inconclusive", message, fix=again, suite=suite)
    if verdict.outcome == "inconclusive" and verdict.look().waits_for[0]:
        subject_of_wait, fix = verdict.look().waits_for
        message = f"{told}: it waits for {subject_of_wait}, which is corrupt"
        return Ruling("inconclusive", message, fix=fix, suite=suite)
    if verdict.outcome == "inconclusive":
        fix = _continue(verdict.continues) if verdict.continues else again
        return Ruling("inconclusive", f"{told}: {_why_inconclusive(verdict)}", fix=fix, suite=suite)
    if verdict.is_waived and not verdict.is_complete:
        return _on_gap(verdict, told, suite=suite)
    if verdict.is_pass:
        return None
    checks = ", ".join(verdict.standing_failures) or "see the verdict"
    show = f"deltareg verdict show {verdict.id}"
    return Ruling("failed", f"{subject.description} failed suite {suite}: {checks}", fix=show, suite=suite)


def _why_inconclusive(verdict: VerdictFact) -> str:
    if not verdict.failed_before_end:
        return "it could not be judged"
    ended = verdict.look().ended
    return ended if "had failed" in ended else f"{', '.join(verdict.failed_before_end)} had failed when it ended"


def _on_gap(verdict: VerdictFact, told: str, *, suite: str) -> Ruling:
    """Report that failed checks are waived and later checks have not been run."""
    waived = ", ".join(verdict.look().failed)
    skipped = ", ".join(verdict.look().skipped) or "what else the suite asks for"
    message = f"{told}: {waived} waived, and {skipped} not run"
    if verdict.continuation:
        fix = f"wait for run {verdict.continuation}: deltareg verdict ls --pending"
    else:
        fix = _continue(verdict.id)
    return Ruling("inconclusive", message, fix=fix, suite=suite)


def _is_empty(verdict: VerdictFact, check: str) -> bool:
    found = verdict.look().checks.get(check)
    return found is not None and found.outcome == "n/a"


def _on_undecided(subject: VerdictSubject, verdict: VerdictFact, check: str, *, suite: str) -> Ruling:
    """Require that a required comparison is decided, or that somebody answers for it."""
    until = verdict.waived.get(check)
    if until is not None and check not in NEVER_WAIVED:
        message = f"suite {suite}: {check} is undecided, and was accepted {until}"
        return Ruling("undecided", message, suite=suite, warnings=(f"{suite}/{check}",))
    message = f"suite {suite}: {check} is undecided: {verdict.look().undecided[check]}"
    fix = (
        "deltareg suite push FILE, with more samples in its probe set or a wider margin;"
        f" then {_verify(subject, suite)}; or promote with --accept-undecided -m REASON"
    )
    return Ruling("undecided", message, fix=fix, suite=suite, undecided=(verdict.id, check))


def _on_warnings(
    subject: VerdictSubject, verdict: VerdictFact, warned: Sequence[str], accepted: frozenset[str], *, suite: str
) -> list[Ruling]:
    """Require that each check that warned is accepted."""
    if not warned:
        return []
    names = ", ".join(warned)
    count = tell_warnings(len(warned))
    on = f" on {subject.variant}" if subject.variant else ""
    warnings = tuple(f"{suite}/{check}{on}" for check in warned)
    if accepted.issuperset(warnings):
        message = f"{suite}: {count} accepted: {names}"
        return [Ruling("warnings", message, suite=suite, warnings=warnings)]
    fix = f"deltareg verdict show {verdict.id}; then promote with --accept-warnings"
    message = f"{subject.description} passed suite {suite} with {count}: {names}"
    return [Ruling("warnings", message, fix=fix, suite=suite, warnings=warnings)]


def _why_other(verdict: VerdictFact, suite: SuiteFact, bound: VerdictConditions) -> tuple[Rule, str] | None:
    if suite.needs_promoted and bound.incumbent not in {None, verdict.compared_with}:
        with_what = _short(verdict.compared_with) or "nothing"
        return "incumbent", f"it was compared with {with_what}, the channel serves another now"
    for key, digest in bound.bests.get(verdict.suite, {}).items():
        held = verdict.held_against.get(key, "")
        if held != digest:
            return "incumbent", f"it was held against {_short(held) or 'nothing'} as the {key}, which is another here"
    environment = environment_key(verdict.environment)
    if bound.environments is not None and environment not in bound.environments:
        now = "; ".join(sorted(bound.environments)) or "not known"
        return "environment", f"it was made with {environment}, the workers' is {now}"
    return None


def _never(suite: str) -> str:
    return f"suite {suite} is a quick look that counts for no channel"


def _other_identity(identity: str) -> str:
    if not identity:
        return "it does not say which of the bases with these tensors it is about"
    return f"it is about another base with the same tensors, {_short(identity)}"


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12]


def _rank(evidence: str) -> int:
    return EVIDENCE.index(evidence) if evidence in EVIDENCE else -1


def _continue(verdict_id: str) -> str:
    return f"deltareg verdict continue {verdict_id} --wait"


def _verify(subject: VerdictSubject, suite: str, *, again: bool = False) -> str:
    once_more = " --again" if again else ""
    on = f" --variant {subject.variant}" if subject.variant else ""
    return f"deltareg verify {subject.ref}{on} --suite {suite}{once_more} --wait"


def _elsewhere(subject: VerdictSubject, suite: str) -> str:
    return f"{_verify(subject, suite).removesuffix(' --wait')} --independent --wait"


_FIXES = {
    "sandbox": "run a worker where these layers hold (deltareg doctor), then: {again}",
    "evidence": "give the worker the base that was pushed against, then: {again}",
}
