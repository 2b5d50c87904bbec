"""The child that compares two versions of one base, tensor by tensor.

It computes what `deltareg diff` does, by the same code. No network is run.
"""

import math
from collections.abc import Sequence
from typing import BinaryIO

from deltareg.client.folders.folder import Folder, open_folder
from deltareg.delta.base_manifest import base_view
from deltareg.delta.compare import OTHER_PLACES, WeightDifference, are_apart, differences
from deltareg.delta.delta_manifest import assess
from deltareg.delta.injection import split_path
from deltareg.delta.kind import BaseView, Effect
from deltareg.errors import IntegrityFailure
from deltareg.identity.manifest import Manifest
from deltareg.wire.findings import FOUND_MOST, MODULES_MOST, DifferencesFound, Row
from deltareg_verify.child.sides import SideFiles, SidesAssignment
from deltareg_verify.messages.report import ReportWriter
from deltareg_verify.sandbox import layers

_NO_BASE = "the base is not to be had; weights that need it are listed without numbers"
_NAME_CHARACTERS = 300
_DIGITS = 4
_PARAMETERS = (".weight", ".bias")


def compare(assignment: SidesAssignment, out: BinaryIO) -> None:
    """Compare the two versions and report the differences."""
    speaker = ReportWriter(out)
    level = layers.enter(assignment.bounds())
    with speaker.giving_up():
        base = assignment.open_base()
        manifest = Manifest.decode(assignment.base_manifest.read_bytes())
        view = base_view(manifest)
        opened = [_open(assignment.versions[name], view) for name in ("a", "b")]
        (a, of_a), (b, of_b) = opened
        tensors = None if base is None else base.tensors
        rows = differences(of_a, of_b, (a.tensors, b.tensors), tensors)
        speaker.report_findings(describe_differences(rows).model_dump())
        speaker.end(dtype="", sandbox=level, environment={})


def describe_differences(found: Sequence[WeightDifference]) -> DifferencesFound:
    """Report the rows, those that differ most first, in no more than a report may hold.

    Where there are too many rows, the smaller of two in one place is merged into the larger: a
    layer of experts has thousands of weights in one place.
    """
    rows = [_row(one) for one in found]
    if len(rows) > MODULES_MOST:
        rows = _by_place(rows)
    retained, note = rows[:MODULES_MOST], _note(found)
    while True:
        omitted = len(found) - sum(row[-1] for row in retained)
        document = DifferencesFound(modules=retained, left_out=omitted, note=note)
        if len(document.model_dump_json()) <= FOUND_MOST:
            return document
        retained = retained[: len(retained) // 2]


def _open(side: SideFiles, view: BaseView) -> tuple[Folder, list[Effect]]:
    manifest = Manifest.decode(side.manifest.read_bytes())
    folder = open_folder(side.delta, convention=str(manifest.config.get("convention", "")))
    assessment = assess(folder.files, folder.tensors, view)
    if assessment.errors:
        raise IntegrityFailure(f"a version is refused now: {assessment.errors[0].message}")
    return folder, list(assessment.account.effects)


def _row(one: WeightDifference) -> Row:
    return (
        one.module[:_NAME_CHARACTERS],
        _round_number(one.relative_norm),
        _round_number(one.cosine),
        _round_number(one.norm_a),
        _round_number(one.norm_b),
        one.rank_a,
        one.rank_b,
        _round_number(one.effective_rank_a),
        _round_number(one.effective_rank_b),
        _round_number(one.overlap),
        1,
    )


def _round_number(value: float | None) -> float | None:
    """Round a number to a few digits; return None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def _by_place(rows: Sequence[Row]) -> list[Row]:
    """Keep of the weights in one place of a layer the one that differs most, and count the others."""
    first: dict[tuple[str, int | None, str], Row] = {}
    for row in rows:
        path = row[0]
        for ending in _PARAMETERS:
            path = path.removesuffix(ending)
        place = split_path(path)
        known = first.setdefault(place, (*row[:-1], 0))
        first[place] = (*known[:-1], known[-1] + 1)
    return list(first.values())


def _note(found: Sequence[WeightDifference]) -> str:
    if any(one.relative_norm is None for one in found):
        return _NO_BASE
    return OTHER_PLACES if are_apart(found) else ""
