"""What is signed about a version: brought, listed, fetched, and kept beside the files of a pull.

Nothing is verified here, which takes libraries that most uses do not need: `signed_folders` does.
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
    """Bring what somebody signed about a version.

    Raises:
        BadSignature: It does not hold, or is about something else.
    """
    text = body.decode("utf-8", "replace")
    request = request_of(ReferrerAdd, form=form, body=text, public=public)
    return context.api.post(_path(version), request, ReferrerInfo)


def list_signed(context: Context, version: VersionInfo) -> Sequence[ReferrerInfo]:
    """List what is signed about a version."""
    return context.api.get(_path(version), Page[ReferrerInfo]).items


def fetch_signed(context: Context, version: VersionInfo, digest: str) -> ReferrerBody:
    """Fetch what somebody signed about a version, as it came.

    Raises:
        BadSignature: The server gave something else.
    """
    body = context.api.get(f"{_path(version)}/{digest}", ReferrerBody)
    if f"sha256:{hashlib.sha256(body.body.encode()).hexdigest()}" != digest:
        raise BadSignature(f"what the server gave is not {digest[:19]}…", fix="ask who runs the server")
    return body


def keep_signature(context: Context, version: VersionInfo, folder: Path, body: str = "") -> None:
    """Write the signature of a version beside the files that a pull has written.

    Of several it is the first that nobody revoked; one that lies there stays, as it may be the
    owner's own, unless `body` is wanted. It is only kept here, for whoever verifies it.
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
    """Give the sha256 of each file of a version, by path."""
    return {file.path: file.digest.hex for file in manifest.files}


def _path(version: VersionInfo) -> str:
    return f"/deltas/{version.namespace}/{version.name}/versions/{version.version}/referrers"
