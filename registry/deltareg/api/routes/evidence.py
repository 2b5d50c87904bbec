"""What others say about versions: listed, and evaluations that nobody signed."""

from fastapi import Response

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.conditions import json_answer
from deltareg.api.routes.deltas import Version
from deltareg.service.lines import evaluations as service
from deltareg.wire import Page
from deltareg.wire.evidence import EvaluationAdd, EvaluationBody, EvaluationWithdraw, OutsideEvidence

router = closed_router("evidence")
_VERSION = "/deltas/{ns}/{name}/versions/{version}"


@router.get(f"{_VERSION}/evidence")
def list_evidence(registry: InRegistry, by: By, version: Version) -> Page[OutsideEvidence]:
    """List what others say about the version, oldest first: attestations, and evaluations."""
    return service.list_evidence(registry, by, version)


@router.post(f"{_VERSION}/evaluations", status_code=201, response_model=OutsideEvidence)
def add_evaluation(registry: InRegistry, by: By, version: Version, body: EvaluationAdd) -> Response:
    """Keep what another system measured of the version, as the word of whoever sends it."""
    return json_answer(service.add_evaluation(registry, by, version, body), 201)


@router.get(f"{_VERSION}/evaluations/{{digest}}")
def show_evaluation(registry: InRegistry, by: By, version: Version, digest: str) -> EvaluationBody:
    """Give an evaluation of the version as it came."""
    return service.show_evaluation(registry, by, version, digest)


@router.post(f"{_VERSION}/evaluations/{{digest}}:withdraw")
def withdraw_evaluation(
    registry: InRegistry, by: By, version: Version, digest: str, body: EvaluationWithdraw
) -> OutsideEvidence:
    """Let an evaluation of the version count no more."""
    return service.withdraw_evaluation(registry, by, version, digest, body)
