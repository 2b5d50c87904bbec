"""The bill of materials of a version, as CycloneDX 1.6 has it for models (https://cyclonedx.org/docs/1.6/json).

It says what the version stands on, what it was trained with as its card claims, its licences, what it was judged
by and with which tools. The same facts give the same bytes.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deltareg.client.client import Client
from deltareg.errors import NotFound
from deltareg.wire import BaseInfo, CheckResult, VerdictInfo, VersionDetail
from deltareg.wire.cards import CardInfo
from deltareg.wire.evidence import OutsideEvidence

_VERDICTS = 50
_NAMESPACE = uuid.UUID("8f1a4a52-7d5c-5c11-9a53-0d9d4f5a3b6e")
# How a card of the hub spells licences, and their identifiers at SPDX; any other is given by its name.
_SPDX = {
    "afl-3.0": "AFL-3.0",
    "apache-2.0": "Apache-2.0",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-4.0": "CC-BY-4.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0-1.0": "CC0-1.0",
    "mit": "MIT",
    "mpl-2.0": "MPL-2.0",
}
_Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a bill of materials is made of.

    Attributes:
        version: The version.
        card: Its card; None if it has none.
        base: Its base; None where the caller may not read it.
        verdicts: Its verdicts that count, the newest first.
        evidence: What others say about it.
    """

    version: VersionDetail
    card: CardInfo | None
    base: BaseInfo | None
    verdicts: Sequence[VerdictInfo]
    evidence: Sequence[OutsideEvidence]


def gather_facts(client: Client, ref: str) -> VersionFacts:
    """Ask a registry for what the bill of materials of a version says."""
    version = client.versions.show(ref)
    try:
        base = client.bases.show(version.base.name) if version.base.name else None
    except NotFound:
        base = None
    verdicts = [one for one in client.verdicts.list(version.ref, limit=_VERDICTS).items if one.counts]
    return VersionFacts(version, client.versions.card(version.ref), base, verdicts, client.evidence.about(version))


def write_bill(facts: VersionFacts, *, release: str) -> str:
    """Write a bill of materials.

    Args:
        facts: What it says.
        release: The release of this program, which is named as the tool.
    """
    version = facts.version
    datasets = list(dict.fromkeys(facts.card.datasets if facts.card else ()))
    parts = [*_bases(facts), *map(_dataset, datasets), *_tools(facts.verdicts)]
    document: _Json = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": max([version.created_at, *(one.created_at for one in facts.verdicts)]),
            "tools": {"components": [{"type": "application", "name": "deltareg", "version": release}]},
            "component": _model(facts, datasets),
        },
        "components": parts,
        "dependencies": [
            {"ref": version.digest, "dependsOn": sorted(str(part["bom-ref"]) for part in parts)},
            *({"ref": str(part["bom-ref"])} for part in parts),
        ],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(document, sort_keys=True))
    return json.dumps({**document, "serialNumber": f"urn:uuid:{serial}"}, indent=2, sort_keys=True) + "\n"


def _model(facts: VersionFacts, datasets: Iterable[str]) -> _Json:
    version, card = facts.version, facts.card
    model: _Json = {
        "type": "machine-learning-model",
        "bom-ref": version.digest,
        "group": version.namespace,
        "name": version.name,
        "version": version.semver or f"v{version.version}",
        "hashes": [{"alg": "SHA-256", "content": version.digest.removeprefix("sha256:")}],
        "modelCard": _card(facts, datasets),
        "properties": list(_properties(facts)),
    }
    description = (card.summary or card.title) if card else version.message
    if description:
        model["description"] = description
    if card is not None and card.license:
        spdx = _SPDX.get(card.license.lower())
        model["licenses"] = [{"license": {"id": spdx} if spdx else {"name": card.license}}]
    return model


def _card(facts: VersionFacts, datasets: Iterable[str]) -> _Json:
    version, card = facts.version, facts.card
    parameters: _Json = {"modelArchitecture": " ".join(filter(None, [version.kind, version.variant]))}
    if facts.base is not None and facts.base.model_type:
        parameters["architectureFamily"] = facts.base.model_type
    if card is not None and card.task:
        parameters["task"] = card.task
    if named := [{"ref": f"data:{name}"} for name in datasets]:
        parameters["datasets"] = named
    metrics = [
        *(_metric(verdict, check) for verdict in _newest(facts.verdicts) for check in verdict.checks),
        *(
            {"type": name, "value": str(value), "slice": f"said by {one.said_by}"}
            for one in facts.evidence
            if not one.ignored
            for name, value in sorted(one.metrics.items())
        ),
        *(
            {"type": one.name, "value": str(one.value), "slice": f"claimed by the card; {one.dataset or one.task}"}
            for one in (card.metrics if card else ())
        ),
    ]
    written: _Json = {"modelParameters": parameters}
    if metrics:
        written["quantitativeAnalysis"] = {"performanceMetrics": metrics}
    return written


def _metric(verdict: VerdictInfo, check: CheckResult) -> _Json:
    value = check.verdict if check.value is None else f"{check.value}"
    return {"type": f"{verdict.suite}/{check.name}", "value": value, "slice": check.verdict}


def _properties(facts: VersionFacts) -> Iterator[_Json]:
    """Give what the standard has no field of its own for."""
    version = facts.version
    said: list[tuple[str, str]] = [
        ("ref", version.ref),
        ("proof", version.proof or ""),
        ("revoked", version.revocation.reason if version.revocation else ""),
        ("deprecated", version.deprecation.reason if version.deprecation else ""),
        ("created-by", version.created_by),
        *(("signature", one.signed_by) for one in version.signatures if not one.revoked),
        *(("parent", ref) for ref in version.parents),
        *(("channel", name) for name in version.channels),
        *((f"label:{name}", value) for name, value in sorted(version.labels.items())),
        *(("verdict", _describe(one)) for one in _newest(facts.verdicts)),
        *(("attestation", f"{one.predicate_type} by {one.said_by}") for one in facts.evidence if not one.ignored),
    ]
    for name, value in said:
        if value:
            yield {"name": f"deltareg:{name}", "value": value}


def _describe(verdict: VerdictInfo) -> str:
    by = f", signed by {verdict.signed_by} ({verdict.keyid[:12]})" if verdict.signed_by else ", unsigned"
    return f"{verdict.verdict} of {verdict.suite} ({verdict.suite_digest}){by}, {verdict.id}"


def _newest(verdicts: Sequence[VerdictInfo]) -> list[VerdictInfo]:
    """Keep the newest verdict of each suite."""
    newest: dict[str, VerdictInfo] = {}
    for verdict in verdicts:
        newest.setdefault(verdict.suite, verdict)
    return list(newest.values())


def _bases(facts: VersionFacts) -> Iterator[_Json]:
    version, base = facts.version, facts.base
    part: _Json = {
        "type": "machine-learning-model",
        "bom-ref": f"base:{version.base.root}",
        "name": version.base.name or version.base.root,
        "hashes": [{"alg": "BLAKE3", "content": version.base.root.removeprefix("blake3:")}],
    }
    if base is not None and base.hub_ids:
        name, _, revision = base.hub_ids[0].partition("@")
        part["purl"] = f"pkg:huggingface/{name}" + (f"@{revision}" if revision else "")
    yield part
    for ref in version.stack[1:]:
        yield {"type": "machine-learning-model", "bom-ref": f"stack:{ref}", "name": ref}


def _dataset(name: str) -> _Json:
    return {"type": "data", "bom-ref": f"data:{name}", "name": name, "data": [{"type": "dataset", "name": name}]}


def _tools(verdicts: Sequence[VerdictInfo]) -> Iterator[_Json]:
    """Give the programs that judged it, as the workers name them."""
    found = {(name, value) for verdict in verdicts for name, value in verdict.environment.items() if name in _PROGRAMS}
    found |= {("verifier", verdict.verifier) for verdict in verdicts if verdict.verifier}
    for name, value in sorted(found):
        yield {"type": "application", "bom-ref": f"tool:{name}@{value}", "name": name, "version": value}


_PROGRAMS = frozenset({"deltareg", "torch", "transformers", "peft", "diffusers", "numpy", "python", "cuda", "lm_eval"})
