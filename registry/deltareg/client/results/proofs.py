"""What a signature has shown."""

from collections.abc import Mapping

from deltareg.wire import Answer
from deltareg.words import ReferrerForm


class SignedProof(Answer):
    """A verdict that holds by its signature: what was found, about what, and who says so.

    `is_local` is one of a worker that nobody enrolled, whose signature shows nothing.
    """

    ref: str
    digest: str
    suite: str
    verdict: str
    base_root: str = ""
    run: str = ""
    signed_by: str = ""
    keyid: str = ""
    key_state: str = ""
    host: str = ""
    enrolled_by: str = ""
    enrolled_at: str = ""
    at: str = ""
    is_local: bool = False


class SignerKey(Answer):
    """A key that deltas are signed with, or an authority's certificate, on this machine.

    `named` is how policies and options name it, `public` the file that others verify with.
    """

    path: str
    named: str
    public: str = ""
    is_new: bool = False


class FilesProof(Answer):
    """A signature, or an attestation, that holds: about what, and who says so.

    `files` is of a signature that was held against no file: the sha256 of each that it names.
    """

    subject: str
    form: ReferrerForm
    predicate_type: str
    signed_by: str
    digest: str
    body: str
    files: Mapping[str, str] = {}
