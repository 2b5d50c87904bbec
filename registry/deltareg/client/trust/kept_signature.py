"""Signatures and attestations of versions: sent, listed, fetched, and kept beside pulled files.

Nothing is verified here, since that takes libraries that most uses do not need; `signed_folders`
does it.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deltareg.client.context import Context
from deltareg.errors import BadSignature
from deltareg.identity.manifest import Manifest
from deltareg.wire import Page, ReferrerAdd, ReferrerBody, ReferrerInfo, VersionInfo, request_of
from deltareg.words import ReferrerForm

SIGNATURE = "model.sig"
"""The file of a pulled folder that holds its signature, as model-signing calls it."""


def send_signed(
    context: Context, version: VersionInfo, form: ReferrerForm, body: bytes, *, public: str = ""
) -> ReferrerInfo:
    """Send a signature or an attestation of a version.

    Raises:
        BadSignature: It does not verify, or is about something else.
    """
    text = body.decode("utf-8", "replace")
    request = request_of(ReferrerAdd, form=form, body=text, public=public)
    return context.api.post(_path(version), request, ReferrerInfo)


def list_signed(context: Context, version: VersionInfo) -> Sequence[ReferrerInfo]:
    """List the signatures and attestations of a version."""
    return context.api.get(_path(version), Page[ReferrerInfo]).items


def fetch_signed(context: Context, version: VersionInfo, digest: str) -> ReferrerBody:
    """Fetch a signature or an attestation of a version, as it was signed.

    Raises:
        BadSignature: The server sent something else.
    """
    body = context.api.get(f"{_path(version)}/{digest}", ReferrerBody)
    if f"sha256:{hashlib.sha256(body.body.encode()).hexdigest()}" != digest:
        raise BadSignature(f"what the server gave is not {digest[:19]}…", fix="ask who runs the server")
    return body


def keep_signature(context: Context, version: VersionInfo, folder: Path, body: str = "") -> None:
    """Write the signature of a version beside the files of a pull.

    Of several signatures, the first that is not revoked is written. An existing one stays, as it
    may be the user's own, unless `body` is given. The signature is only stored, not verified.
    """
    target = folder / SIGNATURE
    counting = [info for info in version.signatures if not info.revoked]
    if not body and (target.exists() or not counting):
        return
    body = body or fetch_signed(context, version, counting[0].digest).body
    with suppress(OSError):
        if target.read_bytes() == body.encode():
            return
    draft = folder / f".deltareg-{os.getpid()}.sig"
    draft.write_bytes(body.encode())
    draft.replace(target)


def files_of(manifest: Manifest) -> dict[str, str]:
    """Return the sha256 of each file of a version, by path."""
    return {file.path: file.digest.hex for file in manifest.files}


def _path(version: VersionInfo) -> str:
    return f"/deltas/{version.namespace}/{version.name}/versions/{version.version}/referrers"
