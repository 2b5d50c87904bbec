"""A push in progress on the wire."""

from typing import Annotated

from pydantic import Field

from deltareg.wire.bases import BaseForm, BaseInfo
from deltareg.wire.messages import Answer, Request, Text
from deltareg.wire.versions import VersionInfo
from deltareg.words import UploadState, UploadSubject


class UploadOpen(Request):
    """The start of a push: what will be stored, by content.

    `manifest` is the exact text whose sha256 is the version's identity. A base whose `target` is
    `ns/name:vN` is that version folded into its base. `base` names the one that is meant of several
    bases with the same root, and `base_identity` says what it is. `trained_on` names the variant of
    it that a delta was trained on. `base_claim` is given where the publisher insists on the base: what
    the delta's files say instead, as far as the publisher saw it. `parents` names the versions that
    are meant of those with the digests of the manifest's parents. `form` is what is said of a base
    beside its bytes.
    """

    subject: UploadSubject
    target: Annotated[str, Field(max_length=140)]
    manifest: str
    message: Text = ""
    semver: str | None = None
    labels: dict[str, str] = {}
    location: Text | None = None
    register_only: bool = False
    base: Text = ""
    base_identity: Text = ""
    trained_on: Text = ""
    base_claim: Text | None = None
    parents: Annotated[list[Text], Field(max_length=64)] = []
    form: BaseForm = BaseForm()


class ReceivedPack(Answer):
    """A pack that this upload already has."""

    digest: str
    size_bytes: int


class UploadInfo(Answer):
    """An upload: what is there already, so that only the rest is sent.

    `known` maps piece digests that the namespace already stores to their storage entry, each with
    the pieces that decoding it needs, and `known_packs` lists the packs that all of them lie in.
    `notes` says of which quotas much is used.
    """

    id: str
    state: UploadState
    manifest_digest: str
    received: list[ReceivedPack] = []
    known: dict[str, str] = {}
    known_packs: list[ReceivedPack] = []
    version: VersionInfo | None = None
    base: BaseInfo | None = None
    notes: list[str] = []


class UploadComplete(Request):
    """The end of a push: how the pieces are stored.

    With `if_newest` a version is made only while the newest one of the line has this number; 0 for none.
    """

    storage_map: str
    if_newest: Annotated[int, Field(ge=0)] | None = None
