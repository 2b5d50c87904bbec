"""Stored forms of versions on the wire: how a version is, was and may be stored."""

from deltareg.wire.messages import Answer, Request
from deltareg.wire.runs import RunInfo
from deltareg.words import ProofState


class StoredFormInfo(Answer):
    """A way in which a version is, was or may come to be stored.

    `form` is its number; the one that is served now has none. `why` says what created it: a push, a
    re-encode `run`, or a return to it. `made_by` sent it, and `proof` is somebody else's result. It
    holds its bytes `until` that time, if that is known.
    """

    form: int | None
    state: str
    why: str
    stored_bytes: int
    revision: int | None
    proof: ProofState
    made_by: str
    run: str = ""
    since: str
    until: str | None = None


class FormHistory(Answer):
    """The stored forms of a version: the one that is served, then the newest first.

    After going back to a form, `run` is the one that looks at it.
    """

    ref: str
    forms: list[StoredFormInfo]
    run: RunInfo | None = None


class FormRevert(Request):
    """Serve a version in a former form again; the newest one that is kept when none is named."""

    form: int | None = None
