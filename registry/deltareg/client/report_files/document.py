"""A report as one JSON document for programs; docs/howto/gate-ci.md names its fields."""

import json
import math
from dataclasses import asdict
from typing import cast

from deltareg.client.report_files.facts import GateReport, SuiteOutcome
from deltareg.documents.json_values import is_list, is_object
from deltareg.wire import SCHEMA_VERSION

MOST_MODULES = 200


def to_document(report: GateReport) -> dict[str, object]:
    """Return a report as an object; its fields are only added to, never renamed or removed."""
    version, answer = report.version, report.answer
    return {
        "schema_version": SCHEMA_VERSION,
        "report": "verify" if answer is None else "gate",
        "standing": report.standing,
        "verdict": _gravest(report),
        "exit_status": report.status,
        "made_at": report.made_at.isoformat(timespec="seconds"),
        "ref": version.ref,
        "version": version.version,
        "digest": version.digest,
        "kind": version.kind,
        "base": version.base.model_dump(mode="json"),
        "signatures": [info.model_dump(mode="json") for info in version.signatures],
        "gate": None if answer is None else answer.model_dump(mode="json"),
        "suites": [_suite(judged) for judged in report.suites],
        "waivers": [asdict(waiver) for waiver in report.waivers],
        "sizes": _sizes(report),
        "diff": _diff(report),
        "history": [asdict(metric) for metric in report.history],
    }


def to_json(report: GateReport) -> str:
    """Format a report as JSON; everything beyond ASCII is escaped, so that it stays valid."""
    return json.dumps(_finite(to_document(report)), indent=2, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    """Replace infinity and NaN by None: broken weights have norms that JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_object(value):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_finite(item) for item in cast("tuple[object, ...]", value)]
    return [_finite(item) for item in value] if is_list(value) else value


def _gravest(report: GateReport) -> str:
    """Return the word of the suite that matters most; `missing` if there is no suite."""
    words = {judged.word for judged in report.suites} or {"missing"}
    order = ("fail", "inconclusive", "missing")
    return next((word for word in order if word in words), min(words, key=lambda w: w == "pass"))


def _suite(judged: SuiteOutcome) -> dict[str, object]:
    verdict, run = judged.verdict, judged.run
    return {
        "suite": judged.suite,
        "verdict": judged.word,
        "run": None if run is None else {"id": run.id, "state": run.state, "error": run.error, "worker": run.worker},
        "judgement": None if verdict is None else verdict.model_dump(mode="json"),
    }


def _sizes(report: GateReport) -> dict[str, object]:
    version, base = report.version, report.base
    full = None if base is None else base.logical_bytes
    return {
        "stored_bytes": version.stored_bytes,
        "logical_bytes": version.logical_bytes,
        "full_copy_bytes": full,
        "saved_bytes": None if full is None else max(0, full - version.stored_bytes),
    }


def _diff(report: GateReport) -> dict[str, object] | None:
    compared = report.compared
    if compared.diff is None or not compared.has_other:
        return None
    document = compared.diff.to_dict()
    del document["schema_version"]  # that of the whole document holds
    modules = compared.diff.modules
    document["modules"] = [asdict(module) for module in modules[:MOST_MODULES]]
    document["modules_total"] = len(modules)
    document["against"] = compared.what
    return document
