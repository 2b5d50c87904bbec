"""Every exception of the project, in one tree, each with its wire code.

::

    DeltaregError                 exit  HTTP
    ├── InvalidInput                 2   422   the request or file is wrong; the user must change it
    │   └── Refused                  2*  422   an upload with a list of problems (6 digest, 7 base)
    ├── NotFound                     3   404
    │   └── BlobMissing              6   502   a row names bytes that the store does not have
    ├── Unauthenticated              4   401
    ├── AssertionRefused             4   400   what an issuer says of a workflow gets no token here
    ├── Forbidden                    4   403
    ├── Conflict                     5   409
    │   ├── StaleRevision            5   412
    │   ├── PreconditionRequired     5   428
    │   ├── UploadClosed             5   409
    │   └── LeaseLost                5   409
    ├── IntegrityFailure             6   422
    │   ├── BadSignature             6   422
    │   ├── LogRewritten             6   422   the audit trail is not the one that was seen before
    │   └── Corrupt                  6   409   the stored bytes of a version or a base are a lie
    ├── BaseMismatch                 7   409
    ├── GateFailed                   8   409
    ├── GatePending                  9   409
    │   └── ApprovalDue              9   409   a request is open, others have to approve it
    ├── Inconclusive                11   409
    │   ├── BaseUnmeasured          11   409   the base itself could not be measured
    │   ├── NotKnown                11   409   a worker does not know what its run needs
    │   ├── NoProbe                 11   409   nothing can be drawn for this network
    │   └── OutOfTime               11   409   a worker's child took longer than it may
    ├── QuotaExceeded               12   507
    │   ├── OverQuota               12   507   a quota of a namespace or a person
    │   └── DiskFull                12   507
    ├── Blocked                     13   409
    │   └── NewBase                 13   409   a channel would change its base
    ├── Unavailable                 75   503   temporary, worth a retry
    │   ├── RateLimited             75   429   too many requests in too short a time
    │   └── StoreUnavailable        75   503
    ├── Misconfigured                2   500
    │   └── StoreMisconfigured       2   500
    ├── WaitTimeout                124   504
    └── DifferenceFound             10   200   never sent by the server

Every class has its `exit_code`, the status that the command line ends with, so that a program
catches by class what a script tells by status::

    try:
        client.promote("team/chat:v3", "prod")
    except GateFailed as error:       # exit status 8
        print(error.message, error.fix)
    except GatePending:               # exit status 9; ApprovalDue, a GatePending, as well
        ...

The HTTP status is mapped in `deltareg.wire.problems`. Both are checked against this tree by a test.
"""

from collections.abc import Sequence

from deltareg.root_error import DeltaregError as DeltaregError
from deltareg.root_error import Problem as Problem

# A refused upload ends with 2, but for the two problems that have a status of their own.
REFUSAL_EXIT_CODES = {"digest": 6, "base_mismatch": 7}


class InvalidInput(DeltaregError):
    """The request, reference, option or file is wrong as it stands."""

    code = "invalid_input"
    exit_code = 2


class Refused(InvalidInput):
    """An upload that is refused, with every problem found."""

    code = "refused"

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Store the problems; the first error among them names the refusal."""
        first = next((p for p in problems if p.severity == "error"), problems[0])
        self.problem_code = first.code
        self.exit_code = REFUSAL_EXIT_CODES.get(first.code, type(self).exit_code)
        where = f" [{first.tensor}]" if first.tensor else ""
        errors = sum(p.severity == "error" for p in problems)
        more = f" (and {errors - 1} more)" if errors > 1 else ""
        super().__init__(f"{first.code}: {first.message}{where}{more}", fix=first.fix, problems=problems)


class NotFound(DeltaregError):
    """The thing named does not exist, or the caller may not know that it does."""

    code = "not_found"
    exit_code = 3


class BlobMissing(NotFound):
    """The store does not hold the object under this physical key."""

    code = "blob_missing"
    exit_code = 6

    def __init__(self, key: str) -> None:
        """Store the missing key."""
        super().__init__(
            f"the store has no object {key}", fix="push the same folder again, or run `deltareg fsck --repair`"
        )
        self.key = key


class Unauthenticated(DeltaregError):
    """No valid token came with the request."""

    code = "unauthenticated"
    exit_code = 4


class AssertionRefused(DeltaregError):
    """What an issuer says of a workflow gets no token here; `reason` is RFC 6749's code for it."""

    code = "assertion_refused"
    exit_code = 4

    def __init__(self, message: str, *, fix: str = "", reason: str = "invalid_request") -> None:
        """Store the code."""
        super().__init__(message, fix=fix)
        self.reason = reason


class Forbidden(DeltaregError):
    """The token is valid and does not allow this."""

    code = "forbidden"
    exit_code = 4


class Conflict(DeltaregError):
    """The state of the registry does not allow this now; read it again first."""

    code = "conflict"
    exit_code = 5


class StaleRevision(Conflict):
    """A channel moved between reading it and writing it."""

    code = "stale_revision"


class PreconditionRequired(Conflict):
    """A channel move came without `If-Match`."""

    code = "precondition_required"


class UploadClosed(Conflict):
    """The upload is complete, aborted or expired; start the push again."""

    code = "upload_closed"
    retryable = True


class LeaseLost(Conflict):
    """The run was given to another worker; this result does not count."""

    code = "lease_lost"


class IntegrityFailure(DeltaregError):
    """Bytes do not have the digest that names them."""

    code = "digest"
    exit_code = 6


class BadSignature(IntegrityFailure):
    """A signature is invalid, or not by the expected signer, or over other content."""

    code = "bad_signature"


class LogRewritten(IntegrityFailure):
    """The log over a registry's audit trail is not the one that was seen before."""

    code = "log_rewritten"


class Corrupt(IntegrityFailure):
    """The stored bytes of a version or a base differ from its manifest; they must be sent again."""

    code = "corrupt"


class BaseMismatch(DeltaregError):
    """The base at hand is not the base that the delta was made for."""

    code = "base_mismatch"
    exit_code = 7


class GateFailed(DeltaregError):
    """A verification of this version failed."""

    code = "gate_failed"
    exit_code = 8


class GatePending(DeltaregError):
    """A requirement of the gate is not met yet."""

    code = "gate_pending"
    exit_code = 9


class ApprovalDue(GatePending):
    """The channel requires approvals: a request for the move is open, nothing has moved."""

    code = "approval_due"

    def __init__(self, message: str, *, fix: str = "", request: int = 0) -> None:
        """Store the request's number; 0 if there is none yet."""
        super().__init__(message, fix=fix, problems=[Problem("approvals", message, fix=fix)])
        self.request = request


class Inconclusive(DeltaregError):
    """The verification could not be carried out; it is never a pass."""

    code = "inconclusive"
    exit_code = 11
    retryable = True


class NotKnown(Inconclusive):
    """A worker does not know what its run needs: a check, a parameter, a kind or a document of another release."""

    code = "not_known"
    retryable = False


class NoProbe(Inconclusive):
    """No input of a network can be drawn; checks that need none go on, and those that do are skipped."""

    code = "no_probe"
    retryable = False


class OutOfTime(Inconclusive):
    """A child of a worker took longer than it may, and would again."""

    code = "out_of_time"
    retryable = False


class BaseUnmeasured(Inconclusive):
    """A base could not be measured, and whoever verifies its versions would fail the same way.

    Attributes:
        seconds: What was spent on it.
    """

    code = "base_unmeasured"
    retryable = False

    def __init__(self, message: str, *, seconds: float = 0.0, fix: str = "") -> None:
        """Store why, and what it cost."""
        super().__init__(message, fix=fix)
        self.seconds = seconds


class QuotaExceeded(DeltaregError):
    """A limit on bytes or counts is reached."""

    code = "quota"
    exit_code = 12


class OverQuota(QuotaExceeded):
    """A namespace or a person would have more than its quota; `fix` says what would free room."""

    code = "quota_exceeded"

    def __init__(self, message: str, *, fix: str = "", holder: str = "", resource: str = "") -> None:
        """Store the refusal; at the server also whose quota, as rows name it, and of what."""
        super().__init__(message, fix=fix)
        self.holder, self.resource = holder, resource


class DiskFull(QuotaExceeded):
    """The disk that the bytes were written to is full."""

    code = "disk_full"


class Blocked(DeltaregError):
    """Revoked, quarantined, frozen or blocked by policy."""

    code = "blocked"
    exit_code = 13


class NewBase(Blocked):
    """The move would change the base that a channel's hosts need, and nobody said that it may."""

    code = "new_base"


class Unavailable(DeltaregError):
    """The server or the network cannot answer now.

    Attributes:
        retry_after_s: Seconds to wait before the next try, as the server asked; 0 if it did not.
        is_final: Whether trying again at once would take as long and not help.
    """

    code = "unavailable"
    exit_code = 75
    retryable = True
    retry_after_s: float = 0.0
    is_final: bool = False


class RateLimited(Unavailable):
    """Too many requests came from a principal or an address; they pass again in a while."""

    code = "rate_limited"


class StoreUnavailable(Unavailable):
    """The object store cannot answer now."""

    code = "store_unavailable"


class Misconfigured(DeltaregError):
    """A setting, schema or environment does not fit; an operator must change it."""

    code = "misconfigured"
    exit_code = 2


class StoreMisconfigured(Misconfigured):
    """The object store refuses what the settings say."""

    code = "store_misconfigured"


class WaitTimeout(DeltaregError):
    """A `--wait` ended before the work did; the work goes on."""

    code = "wait_timeout"
    exit_code = 124
    retryable = True


class DifferenceFound(DeltaregError):
    """`diff --exit-code` found a difference."""

    code = "difference"
    exit_code = 10


# The codes that a Problem may carry (product surface: `deltareg explain CODE`).
FILE_CODES = frozenset({
    "header", "truncated", "trailing_bytes", "overlap", "hole", "duplicate_key", "empty",
    "not_safetensors", "pickle", "ambiguous", "code_file", "foreign_file", "link", "limits",
    "digest",
})  # fmt: skip
KIND_CODES = frozenset({
    "missing_config", "bad_config", "custom_code", "unknown_kind", "kind_mismatch",
    "not_self_contained", "convention_needed", "shape", "rank", "missing_tensors",
    "unexpected_tensors", "no_tensor_applied", "partial_application", "undeclared_base_override",
    "non_finite", "base_mismatch", "indices", "not_selected", "wrapped_names", "not_a_variant",
    "quantised_base",
})  # fmt: skip
CHECK_CODES = frozenset({
    "no_effect", "norm_ratio", "overflow_after_cast", "attached_differs", "golden_differs",
    "golden_missing", "worse_than_base", "regression", "undecided", "worse_incumbent",
    "non_deterministic", "below_threshold", "missing_measure", "not_reloadable",
    "library_differs", "library_absent", "older_library", "collapsed", "special_tokens", "batching_differs",
    "trigger_suspected", "misplaced", "cut_values", "unrelated", "odd_batches", "unfinished",
    "nothing_to_compare",
})  # fmt: skip
NOTE_CODES = frozenset({"config_changed", "base_evidence", "trainer_state_left_out"})
PROBLEM_CODES = FILE_CODES | KIND_CODES | CHECK_CODES | NOTE_CODES


def error_classes() -> dict[str, type[DeltaregError]]:
    """Return every class of the tree by its wire code; two classes never share one."""
    classes: dict[str, type[DeltaregError]] = {}
    todo: list[type[DeltaregError]] = [DeltaregError]
    while todo:
        cls = todo.pop()
        if classes.setdefault(cls.code, cls) is not cls:
            raise AssertionError(f"{cls.__name__} and {classes[cls.code].__name__} share a code")
        todo.extend(cls.__subclasses__())
    return classes
