"""Lint: what a folder is and what is wrong with it, without a server when the base is a folder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deltareg.client.bases.bases import KnownBase
from deltareg.client.context import Context
from deltareg.client.fold.version_base import open_named_base
from deltareg.client.folders.folder import Folder, open_delta
from deltareg.client.folders.near_misses import check_exists, means_folder
from deltareg.client.push.push_target import PushBases, find_push_target
from deltareg.client.results.reports import LintReport
from deltareg.delta.delta_manifest import Assessment, assess
from deltareg.delta.examine import examine
from deltareg.delta.injection import injection_points
from deltareg.delta.kind import BaseView
from deltareg.delta.names import name_map_for
from deltareg.delta.quantised.fit import packed_problems
from deltareg.delta.serving import ServableDelta, servability
from deltareg.digest import Digest
from deltareg.errors import Problem, Refused

NO_BASE = BaseView(Digest("blake3", "0" * 64), {}, {}, name_map_for({}, ()))


def lint(
    context: Context, path: Path, *, base: str | None, convention: str = "", trained_on: str | None = None
) -> LintReport:
    """Examine a folder as a push would; every problem is in the report, none is raised.

    Args:
        context: The client's surroundings.
        path: The folder.
        base: The base, by name or as a folder, for which no server is asked; None for none.
        convention: What the user says of its values.
        trained_on: The base that somebody insists it was trained on.
    """
    check_exists(path)  # before anything is said of a base
    known = KnownBase("", NO_BASE) if base is None else open_named_base(context, base)
    try:
        with open_delta(path, convention=convention) as folder:
            report = _report(folder, known)
            return replace(report, problems=[*_denials(context, folder, base, trained_on), *report.problems])
    except Refused as refused:
        return LintReport(problems=refused.problems)
    finally:
        known.close()


def _denials(context: Context, folder: Folder, base: str | None, trained_on: str | None) -> Sequence[Problem]:
    """Return what the folder's own files say against the base, where a server is asked about it."""
    if base is None or means_folder(base):
        return ()
    try:
        with PushBases(context) as bases:
            find_push_target(bases, folder, None, base=base, trained_on=trained_on)
    except Refused as refused:
        return refused.problems
    return ()


def _report(folder: Folder, known: KnownBase) -> LintReport:
    try:
        assessment = assess(folder.files, folder.tensors, known.view)
    except Refused as refused:
        return LintReport(problems=refused.problems, tensors=len(folder.tensors), left_out=folder.left_out)
    problems = list(assessment.account.problems)
    if assessment.errors and known.view is not NO_BASE:
        problems = [*packed_problems(known.view, known.name), *problems]
    if known.view is NO_BASE:
        problems = _without_base(problems)
    elif not assessment.errors:
        problems += examine(assessment.account, folder.tensors, known.tensors, folder.files)
    return _build_report(folder, known, assessment, problems)


def _build_report(folder: Folder, known: KnownBase, assessment: Assessment, problems: list[Problem]) -> LintReport:
    kind, config = assessment.kind, assessment.kind.config()
    has_errors = any(problem.severity == "error" for problem in problems)
    match = "none" if known.view is NO_BASE or has_errors else "shapes"
    if match == "shapes" and assessment.account.has_base_evidence:
        match = "exact"
    dtypes = Counter(tensor.dtype for tensor in folder.tensors.values())
    return LintReport(
        kind=kind.name,
        variant=kind.variant,
        foldable=kind.foldable,
        base_match=match,
        modules=assessment.account.modules,
        tensors=len(folder.tensors),
        problems=problems,
        evidence=assessment.match.evidence,
        rank=str(config.get("r", "")),
        scale=str(config.get("scale", config.get("lora_alpha", ""))),
        dtype=", ".join(sorted(dtypes)),
        left_out=folder.left_out,
        targets=sorted({target for _, target in assessment.account.roles.values() if target}),
        injection=injection_points(assessment.account.effects),
        servable=servability(ServableDelta(kind.name, kind.variant, config, list(folder.contents))),
    )


def _without_base(problems: list[Problem]) -> list[Problem]:
    """Without a base nothing can be said about targets; say that instead of refusing."""
    note = Problem(
        "base_evidence",
        "no base was named, so targets and shapes were not checked",
        severity="warning",
        fix="deltareg lint PATH --base NAME|FOLDER",
    )
    needs_base = {
        "no_tensor_applied",
        "partial_application",
        "unexpected_tensors",
        "missing_tensors",
        "shape",
        "undeclared_base_override",
    }
    return [*(p for p in problems if p.code not in needs_base), note]
