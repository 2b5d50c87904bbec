"""Mistakes that a worker could have; each must make many tests fail."""

import deltareg_verify.supervisor.runs.verify
from deltareg.suites import shown_checks
from deltareg_verify.judging import verdict


def always_pass(patch):
    """The rule says pass whatever was found."""
    patch.setattr(verdict, "judge", lambda *_, **__: "pass")


def optimist(patch):
    """The rule takes what was skipped for passed."""
    patch.setattr(shown_checks, "_SHOWS", frozenset({"pass", "warn", "fail", "skipped", "n/a"}))


def answer_pass(patch):
    """The worker sends a pass, whatever the rule says."""
    honest = deltareg_verify.supervisor.runs.verify.verdict_report

    def lie(*arguments, **named):
        return honest(*arguments, **named).model_copy(update={"verdict": "pass"})

    patch.setattr(deltareg_verify.supervisor.runs.verify, "verdict_report", lie)


BUGS = {"always_pass": always_pass, "optimist": optimist, "answer_pass": answer_pass}
