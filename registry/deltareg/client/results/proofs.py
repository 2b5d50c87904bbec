"""What a signature has shown."""

from deltareg.wire import Answer


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
