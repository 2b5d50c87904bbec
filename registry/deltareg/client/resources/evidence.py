"""What others say about versions: attestations that they signed, evaluations that systems made."""

from collections.abc import Sequence
from pathlib import Path

from deltareg.client import use_cases
from deltareg.client.asking.resolving import resolve, version_path
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.trust.kept_signature import fetch_signed, list_signed, send_signed
from deltareg.documents.evaluation import is_evaluation
from deltareg.errors import InvalidInput, NotFound, Refused
from deltareg.refs import Ref
from deltareg.tensors.header import strict_json_object
from deltareg.wire import Page, ReferrerBody, VersionInfo, request_of
from deltareg.wire.evidence import EvaluationAdd, EvaluationBody, EvaluationWithdraw, OutsideEvidence

_FIX = "bring an attestation in its envelope or bundle, or the results.json of lm-evaluation-harness"
_OLD = "this server is of a release that takes no evaluations that nobody signed"


class Evidence(Resource):
    """What others say about versions, apart from what workers of the registry found."""

    __slots__ = ()

    def list(self, ref: str) -> Sequence[OutsideEvidence]:
        """List what others say about a version, oldest first."""
        return self.about(resolve(self._context, Ref.parse(ref), bare="newest"))

    def about(self, version: VersionInfo) -> Sequence[OutsideEvidence]:
        """List what others say about a shown version; of an older server, the attestations alone."""
        try:
            return self._context.api.get(f"{_path(version)}/evidence", Page[OutsideEvidence]).items
        except NotFound:
            signed = list_signed(self._context, version)
        return [
            OutsideEvidence(
                digest=info.digest,
                predicate_type=info.predicate_type,
                signed_by=info.signed_by,
                ignored=f"its signer is revoked: {info.revoked}" if info.revoked else "",
                size_bytes=info.size_bytes,
                created_at=info.created_at,
                created_by=info.created_by,
            )
            for info in signed
            if info.form == "attestation"
        ]

    def add(self, ref: str, path: AnyPath, *, key: AnyPath | None = None) -> OutsideEvidence:
        """Upload what somebody says about a version, from a file.

        Args:
            ref: The version. For an evaluation that nobody signed it must be one, as no digest in
                the file says which it is about.
            path: An in-toto attestation in its envelope or bundle; or an evaluation that nobody
                signed: the results.json of lm-evaluation-harness, or `{"metrics": {NAME: NUMBER}}`.
            key: The public key that verifies an attestation; not needed if it has certificates.

        Raises:
            BadSignature: It does not verify, or is about something else.
            InvalidInput: It is neither of the two.
        """
        raw = _read(Path(path))
        if not _is_unsigned(raw):
            version = resolve(self._context, Ref.parse(ref), bare="newest")
            public = "" if key is None else use_cases.signers.public_in(Path(key))
            digest = send_signed(self._context, version, "attestation", raw, public=public).digest
            return next(one for one in self.about(version) if one.digest == digest)
        if key is not None:
            raise InvalidInput("it is not signed, so no key verifies it", fix="leave --key out")
        named = Ref.parse(ref)
        if named.version is None and named.digest is None:
            raise InvalidInput("no digest in it says which version it is about", fix=f"name one: {named.line}:v3")
        version = resolve(self._context, named, bare="newest")
        request = request_of(EvaluationAdd, body=raw.decode("utf-8", "replace"))
        try:
            return self._context.api.post(f"{_path(version)}/evaluations", request, OutsideEvidence)
        except NotFound as error:
            raise InvalidInput(_OLD, fix="have the server updated, or sign it: deltareg help attest") from error

    def show(self, ref: str, digest: str = "") -> ReferrerBody | EvaluationBody:
        """Return what somebody says about a version, as it came.

        Args:
            ref: The version.
            digest: Its digest, or the first digits of it; without it, the newest attestation.

        Raises:
            NotFound: There is no such thing.
        """
        version = resolve(self._context, Ref.parse(ref), bare="newest")
        digits = digest.removeprefix("sha256:").lower()
        matching = [one for one in self.about(version) if one.digest[7:].startswith(digits)]
        if not digits:
            matching = [one for one in matching if one.signed_by][-1:]
        if len({one.digest for one in matching}) != 1:
            message = f"{version.ref} has {len(matching)} attestations {digits[:64]}".rstrip()
            raise NotFound(message, fix=f"see what there is: deltareg attest ls {version.ref}")
        found = matching[-1]
        if found.signed_by:
            return fetch_signed(self._context, version, found.digest)
        return self._context.api.get(f"{_path(version)}/evaluations/{found.digest}", EvaluationBody)

    def withdraw(self, ref: str, digest: str, *, reason: str) -> OutsideEvidence:
        """Let an evaluation that nobody signed count no more: one's own, or as the line's admin any.

        Args:
            ref: The version.
            digest: Its digest, or the first digits of it.
            reason: Why.

        Raises:
            NotFound: The version has none with that digest.
            Forbidden: Somebody else brought it.
        """
        version = resolve(self._context, Ref.parse(ref), bare="newest")
        whole = self._find(version, digest)
        request = request_of(EvaluationWithdraw, reason=reason)
        return self._context.api.post(f"{_path(version)}/evaluations/{whole}:withdraw", request, OutsideEvidence)

    def _find(self, version: VersionInfo, digest: str) -> str:
        digits = digest.removeprefix("sha256:")
        fix = f"see what there is: deltareg attest ls {version.ref}"
        matching = [one for one in self.about(version) if digits and one.digest[7:].startswith(digits)]
        found = {one.digest for one in matching if not one.signed_by}
        if not found and matching:
            message = f"{matching[0].said_by} signed it, so it is not withdrawn"
            raise InvalidInput(
                message, fix="end the signer, where that is due: deltareg signature revoke KEYID -m REASON"
            )
        if len(found) != 1:
            raise NotFound(f"{version.ref} has {len(found)} evaluations {digits[:64]}…", fix=fix)
        return found.pop()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read((1 << 20) + 1)
    except OSError as error:
        raise InvalidInput(f"there is no file {path}", fix=_FIX) from error
    if len(raw) > 1 << 20:
        raise InvalidInput(f"{path} has more than 1 MiB", fix="leave out the samples: the results alone are read")
    return raw


def _is_unsigned(raw: bytes) -> bool:
    """Whether it is an evaluation by itself; an envelope and a bundle have other keys."""
    try:
        fields = strict_json_object(raw.strip())
    except Refused as error:
        raise InvalidInput(f"it cannot be read: {error.message}", fix=error.fix or _FIX) from error
    if {"payload", "mediaType"} & fields.keys():
        return False
    if is_evaluation(fields):
        return True
    if "predicateType" in fields:
        raise InvalidInput("it is a statement that nobody signed", fix="bring it in its envelope, with the signature")
    raise InvalidInput("it is no attestation, and has no metrics", fix=_FIX)


def _path(version: VersionInfo) -> str:
    return version_path(Ref.parse(version.ref))
