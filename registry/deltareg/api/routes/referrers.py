"""What others signed about versions: signatures of their files, attestations, revoked signers."""

from fastapi import Response

from deltareg.api.auth import By, InRegistry
from deltareg.api.closed import closed_router
from deltareg.api.conditions import json_answer
from deltareg.api.routes.deltas import Version
from deltareg.service.lines import referrers as service
from deltareg.wire import Page, ReferrerAdd, ReferrerBody, ReferrerInfo, RevokedSigner, SignerRevoke

router = closed_router("referrers")


@router.get("/deltas/{ns}/{name}/versions/{version}/referrers")
def list_referrers(registry: InRegistry, by: By, version: Version) -> Page[ReferrerInfo]:
    """List the signatures and attestations of the version, oldest first."""
    return service.list_referrers(registry, by, version)


@router.post("/deltas/{ns}/{name}/versions/{version}/referrers", status_code=201, response_model=ReferrerInfo)
def add_referrer(registry: InRegistry, by: By, version: Version, body: ReferrerAdd) -> Response:
    """Keep a signature of the version's files, or an attestation about it, if it holds."""
    return json_answer(service.add_referrer(registry, by, version, body), 201)


@router.get("/deltas/{ns}/{name}/versions/{version}/referrers/{digest}")
def show_referrer(registry: InRegistry, by: By, version: Version, digest: str) -> ReferrerBody:
    """Give a signature or an attestation of the version as it was signed."""
    return service.show_referrer(registry, by, version, digest)


@router.get("/signers/revoked")
def list_revoked_signers(registry: InRegistry, by: By) -> Page[RevokedSigner]:
    """List the keys and authorities whose signatures count no more."""
    return service.list_revoked_signers(registry, by)


@router.post("/signers/{keyid}:revoke")
def revoke_signer(registry: InRegistry, by: By, keyid: str, body: SignerRevoke) -> RevokedSigner:
    """Let nothing count any more that a key, or an authority, has signed."""
    return service.revoke_signer(registry, by, keyid, body)
