"""Requires and verifies signatures of versions and of pulled folders.

What a server says about a signature does not matter here: its bytes are opened with the signer's
key, and their content is compared with the manifest or with the files themselves.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from deltareg.client.context import Context
from deltareg.client.results.proofs import FilesProof
from deltareg.client.trust.kept_signature import SIGNATURE, fetch_signed, files_of, list_signed
from deltareg.client.trust.signers import TrustedSigner
from deltareg.errors import BadSignature, InvalidInput
from deltareg.identity.manifest import Manifest
from deltareg.signing.attested import Attestation, check_about, read_attested
from deltareg.signing.signatories import Signatory
from deltareg.signing.signed_files import PREDICATE, check_files, read_signed_files
from deltareg.wire import ReferrerInfo, VersionInfo

_SIGN = "deltareg push PATH NS/NAME --sign KEY, or: deltareg signature add REF FILE"


def require_signatures(
    context: Context, version: VersionInfo, manifest: Manifest, signers: Iterable[TrustedSigner]
) -> list[FilesProof]:
    """Return a signature of a version's files by each of some signers.

    Raises:
        BadSignature: One of them has not signed it.
    """
    files = files_of(manifest)
    return [_require_signer(context, version, files, signer) for signer in signers]


def require_attestations(
    context: Context, version: VersionInfo, manifest: Manifest, signer: TrustedSigner, *, predicate_type: str = ""
) -> list[FilesProof]:
    """Return a signer's attestations about a version, of one type or of all.

    Raises:
        BadSignature: There is none that verifies.
    """
    candidates = [
        info
        for info in list_signed(context, version)
        if info.form == "attestation" and predicate_type in {"", info.predicate_type}
    ]
    proofs: list[FilesProof] = []
    for info in (each for each in candidates if signer.wanted.is_met_by(_signatory(each))):
        _refuse_revoked(info)
        body = fetch_signed(context, version, info.digest)
        opened = signer.opens(body.body.encode(), public=body.public)
        attested = read_attested(opened.payload)
        check_version(attested, manifest)
        proofs.append(
            FilesProof(
                subject=version.ref,
                form="attestation",
                predicate_type=attested.predicate_type,
                signed_by=opened.signatory.description,
                digest=info.digest,
                body=body.body,
            )
        )
    if not proofs:
        raise BadSignature(
            f"{version.ref} has no such attestation by {signer.description}",
            fix=f"see what there is: deltareg attest ls {version.ref}",
        )
    return proofs


def verify_folder(folder: Path, bundle: Path | None, signer: TrustedSigner) -> FilesProof:
    """Compare the files of a folder with its signature, without a server.

    Args:
        folder: The folder.
        bundle: Its signature; None for `model.sig` inside the folder.
        signer: Who must have signed it.

    Raises:
        BadSignature: A file is changed, missing or not signed, or the signature does not verify.
        InvalidInput: There is no signature.
    """
    where = folder / SIGNATURE if bundle is None else bundle
    raw = read_bundle_file(where)
    opened = signer.opens(raw)
    check_files(read_signed_files(opened.payload), _hash_files(folder, where), what=str(folder))
    return FilesProof(
        subject=str(folder),
        form="signature",
        predicate_type=PREDICATE,
        signed_by=opened.signatory.description,
        digest=_digest(raw),
        body=raw.decode(),
    )


def verify_bundle(path: Path, signer: TrustedSigner) -> FilesProof:
    """Verify a signature by itself: that the signer made it, not that any file matches it.

    Raises:
        BadSignature: The signature does not verify.
    """
    raw = read_bundle_file(path)
    opened = signer.opens(raw)
    files = read_signed_files(opened.payload)
    return FilesProof(
        subject=f"{len(files)} files, none of them looked at",
        form="signature",
        predicate_type=PREDICATE,
        signed_by=opened.signatory.description,
        digest=_digest(raw),
        body=raw.decode(),
        files=files,
    )


def read_bundle_file(path: Path) -> bytes:
    """Return a signature from a file.

    Raises:
        InvalidInput: There is no such file.
    """
    try:
        with path.open("rb") as file:
            return file.read((1 << 20) + 1)
    except OSError as error:
        raise InvalidInput(
            f"there is no signature in {path}",
            fix="name it: --signature FILE; or fetch it: deltareg signature export REF --out FILE",
        ) from error


def check_version(attested: Attestation, manifest: Manifest) -> None:
    """Refuse an attestation that is not about a version.

    Raises:
        BadSignature: It is about something else.
    """
    weights = [file.path for file in manifest.files if file.is_tensors]
    check_about(attested, manifest.digest.hex, files_of(manifest), weights=weights)


def _require_signer(
    context: Context, version: VersionInfo, files: Mapping[str, str], signer: TrustedSigner
) -> FilesProof:
    why = f"{version.ref} is not signed by {signer.description}"
    for info in version.signatures:
        if not signer.wanted.is_met_by(_signatory(info)):
            continue
        try:
            _refuse_revoked(info)
            body = fetch_signed(context, version, info.digest)
            opened = signer.opens(body.body.encode(), public=body.public)
            check_files(read_signed_files(opened.payload), files, what=version.ref)
        except BadSignature as error:
            why = f"{version.ref}: {error.message}"
            continue
        return FilesProof(
            subject=version.ref,
            form="signature",
            predicate_type=PREDICATE,
            signed_by=opened.signatory.description,
            digest=info.digest,
            body=body.body,
        )
    others = ", ".join(sorted({info.signed_by for info in version.signatures}))
    reason = f"; it is signed by {others}" if others else "; nobody has signed it"
    raise BadSignature(f"{why}{reason}", fix=_SIGN)


def _refuse_revoked(info: ReferrerInfo) -> None:
    if info.revoked:
        raise BadSignature(f"{info.signed_by} is revoked: {info.revoked}", fix=_SIGN)


def _signatory(info: ReferrerInfo) -> Signatory:
    return Signatory(info.keyid, info.ca, info.issuer, info.identity)


def _hash_files(folder: Path, bundle: Path) -> dict[str, str]:
    """Hash every file of a folder but its signature; links are refused and never followed."""
    digests: dict[str, str] = {}
    for here, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(here, name)
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise BadSignature(f"{path} is no file of a delta", fix="take it out of the folder")
        for name in names:
            path = Path(here, name)
            if path.absolute() in {(folder / SIGNATURE).absolute(), bundle.absolute()}:
                continue
            with path.open("rb") as data:
                digest = hashlib.file_digest(data, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    return digests


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
