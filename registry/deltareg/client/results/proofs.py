"""Results of verifying signatures."""

from collections.abc import Mapping

from deltareg.wire import Answer
from deltareg.words import ReferrerForm


class SignedProof(Answer):
    """A verdict whose signature verifies: what was found, about what, and who signed it.

    `is_local` marks one of a worker that is not enrolled, whose signature proves nothing.
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

    `named` is its name in policies and options, `public` the file that others verify with.
    """

    path: str
    named: str
    public: str = ""
    is_new: bool = False


class FilesProof(Answer):
    """A signature or an attestation that verifies: about what, and who signed it.

    `files` is set if the signature was not compared with files: the sha256 of each file it names.
    """

    subject: str
    form: ReferrerForm
    predicate_type: str
    signed_by: str
    digest: str
    body: str
    files: Mapping[str, str] = {}
