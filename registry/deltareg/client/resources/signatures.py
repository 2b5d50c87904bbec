"""Signatures of versions' files, and attestations about versions."""

from collections.abc import Sequence
from pathlib import Path

from deltareg.client import use_cases
from deltareg.client.asking.resolving import fetch_manifest, resolve
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.listing import Listing
from deltareg.client.results.proofs import FilesProof, SignerKey
from deltareg.client.trust.kept_signature import fetch_signed, list_signed, send_signed
from deltareg.errors import InvalidInput, NotFound
from deltareg.refs import Ref
from deltareg.wire import Page, ReferrerBody, ReferrerInfo, RevokedSigner, SignerRevoke, VersionDetail, request_of
from deltareg.words import ReferrerForm


class Signatures(Resource):
    """What others have signed about versions: signatures of their files, and attestations."""

    __slots__ = ()

    def list(self, ref: str, *, form: ReferrerForm = "signature") -> Sequence[ReferrerInfo]:
        """List the signatures, or the attestations, of a version, oldest first."""
        signed = list_signed(self._context, self._version(ref))
        return [info for info in signed if info.form == form]

    def add(
        self, ref: str, path: AnyPath, *, key: AnyPath | None = None, form: ReferrerForm = "signature"
    ) -> ReferrerInfo:
        """Upload a signature or an attestation from a file.

        Args:
            ref: The version that it is about.
            path: A bundle of OpenSSF model-signing, or an in-toto attestation in an envelope.
            key: The public key that verifies it; not needed if it contains certificates.
            form: Which of the two it is.

        Raises:
            BadSignature: It does not verify, or is about something else.
        """
        raw = use_cases.signed_folders.read_bundle_file(Path(path))
        public = "" if key is None else use_cases.signers.public_in(Path(key))
        return send_signed(self._context, self._version(ref), form, raw, public=public)

    def show(self, ref: str, digest: str = "", *, form: ReferrerForm = "signature") -> ReferrerBody:
        """Return a signature or attestation as it was signed; by its digest, or else the newest.

        Raises:
            NotFound: There is no such signature or attestation.
        """
        version = self._version(ref)
        matches = [
            info
            for info in list_signed(self._context, version)
            if info.form == form and info.digest.partition(":")[2].startswith(_hex(digest))
        ]
        if not matches:
            raise NotFound(f"{version.ref} has no such {form}", fix=f"deltareg signature ls {version.ref}")
        return fetch_signed(self._context, version, matches[-1].digest)

    def verify(
        self,
        named: AnyPath,
        signers: Sequence[str],
        *,
        signature: AnyPath | None = None,
        sigstore_trust: AnyPath | None = None,
    ) -> Sequence[FilesProof]:
        """Verify that each of some signers has signed a folder, a version, or a bundle's content.

        A folder or a bundle is verified without the server.

        Args:
            named: A folder, a file with a bundle, or a version.
            signers: The required signers: public keys in files, keyids, authorities and the like.
            signature: The bundle for the folder; by default `model.sig` in it.
            sigstore_trust: The trust configuration of a Sigstore, for identities.

        Raises:
            BadSignature: A signer has not signed it, or it differs from what was signed.
        """
        trusted = self._signers(signers, sigstore_trust)
        signed, path = use_cases.signed_folders, Path(named)
        if path.is_dir():
            bundle = None if signature is None else Path(signature)
            return [signed.verify_folder(path, bundle, one) for one in trusted]
        if signature is not None:
            raise InvalidInput(f"{named} is no folder", fix="--signature goes with a folder")
        if path.is_file():
            return [signed.verify_bundle(path, one) for one in trusted]
        version = self._version(str(named))
        manifest = fetch_manifest(self._context, version)
        return signed.require_signatures(self._context, version, manifest, trusted)

    def verify_attestations(
        self, ref: str, signers: Sequence[str], *, predicate_type: str = "", sigstore_trust: AnyPath | None = None
    ) -> Sequence[FilesProof]:
        """Verify the attestations of a version by each of some signers, of one type or of all.

        Raises:
            BadSignature: A signer has made none, or an attestation does not verify.
        """
        trusted = self._signers(signers, sigstore_trust)
        version = self._version(ref)
        manifest = fetch_manifest(self._context, version)
        return [
            proof
            for one in trusted
            for proof in use_cases.signed_folders.require_attestations(
                self._context, version, manifest, one, predicate_type=predicate_type
            )
        ]

    def key(self, path: AnyPath) -> SignerKey:
        """Return the name of a key or an authority's certificate; create a key if there is no file.

        Raises:
            InvalidInput: The file holds neither.
        """
        return use_cases.signers.key_in(Path(path))

    def list_revoked(self) -> Listing[RevokedSigner]:
        """List the keys and authorities whose signatures no longer count."""
        return self._list("/signers/revoked", Page[RevokedSigner])

    def revoke(self, keyid: str, *, reason: str) -> RevokedSigner:
        """Revoke a key or an authority: nothing that it has signed or will sign counts any more."""
        request = request_of(SignerRevoke, reason=reason)
        return self._context.api.post(f"/signers/{_hex(keyid)}:revoke", request, RevokedSigner)

    def _version(self, ref: str) -> VersionDetail:
        return resolve(self._context, Ref.parse(ref), bare="newest")

    def _signers(self, texts: Sequence[str], trust: AnyPath | None) -> "tuple[use_cases.signers.TrustedSigner, ...]":
        if not texts:
            raise InvalidInput(
                "a signature shows nothing where nobody says whose it should be", fix="name the signer: --key FILE"
            )
        where = None if trust is None else Path(trust)
        return use_cases.signers.parse_signers(texts, trust=where)


def _hex(text: str) -> str:
    digits = text.removeprefix("sha256:").lower()
    if digits.strip("0123456789abcdef"):
        raise InvalidInput(f"no digest: {text[:80]}", fix="name one: deltareg signature ls REF")
    return digits
