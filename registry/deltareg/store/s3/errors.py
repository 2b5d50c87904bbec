"""What S3 and its library say, turned into our errors, with what to do."""

from collections.abc import Generator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004  # the library's own name
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    SSLError,
)

from deltareg.errors import BlobMissing, DeltaregError, DiskFull, StoreMisconfigured, StoreUnavailable

_FIXES = {
    "NoSuchBucket": "create the bucket, or correct its name in the store's URL",
    "InvalidBucketName": "correct the bucket's name in the store's URL",
    "InvalidAccessKeyId": "the endpoint does not know this access key id: correct it",
    "SignatureDoesNotMatch": "the secret is not the one of this access key id, or the region is "
    "not the bucket's: correct them",
    "AccessDenied": "let this access key get, put, delete and list objects of the bucket",
    "RequestTimeTooSkewed": "set this machine's clock",
    "ExpiredToken": "renew the machine's credentials",
    "PermanentRedirect": "set the region and the endpoint that the bucket is in",
    "AuthorizationHeaderMalformed": "set the region that the bucket is in",
}
_OTHER_FIX = "compare endpoint, region, bucket and access key with what the store expects"

_TEMPORARY_CODES = frozenset(
    {
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    }
)
_TEMPORARY_STATUS = frozenset({408, 429, 500, 502, 503, 504})
# One server of several says this while its clock is wrong: whoever asks again may reach another one.
_OF_THIS_MACHINE = frozenset({"RequestTimeTooSkewed"})
_FULL_CODES = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"})
_TEMPORARY_ERRORS = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    FlexibleChecksumError,
)


@contextmanager
def s3_errors(where: str, *, key: str | None = None) -> Generator[None, None, None]:
    """Raise our errors in place of the library's.

    Args:
        where: The store's URL, for the message.
        key: The object concerned, when a missing one would be reported.
    """
    try:
        yield
    except ClientError as error:
        raise _translate_answer(error, where, key=key) from error
    except BotoCoreError as error:
        raise _translate_failure(error, where) from error


def status_of(error: ClientError) -> int:
    """Return the HTTP status of a refusal, 0 when the library made it up."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _translate_answer(error: ClientError, where: str, *, key: str | None = None) -> DeltaregError:
    """Choose the error for a refusal that the endpoint sent."""
    code, status = error.response.get("Error", {}).get("Code", ""), status_of(error)
    said = f"{where} answered {status} {code} to {error.operation_name}"
    if key is not None and code in {"NoSuchKey", "404", "NotFound"}:
        return BlobMissing(key)
    if code in _FULL_CODES or status == 507:  # Insufficient Storage
        return DiskFull(said, fix="raise the store's quota, or: deltareg gc run")
    if code in _TEMPORARY_CODES or status in _TEMPORARY_STATUS:
        return StoreUnavailable(said)
    if code in _OF_THIS_MACHINE:
        return StoreUnavailable(said, fix=_FIXES[code])
    return StoreMisconfigured(said, fix=_FIXES.get(code, _OTHER_FIX))


def _translate_failure(error: BotoCoreError, where: str) -> DeltaregError:
    """Choose the error for a request that got no answer, or not all of one."""
    if isinstance(error, SSLError):
        return StoreMisconfigured(
            f"no trusted connection to {where}: {error}",
            fix="let this machine trust the endpoint's certificate (AWS_CA_BUNDLE)",
        )
    if isinstance(error, _TEMPORARY_ERRORS):
        what = str(error).partition(" URL: ")[0]  # what follows names the object, signature and all
        return StoreUnavailable(
            f"the store at {where} does not answer: {what}",
            fix="try again; who runs the registry can look: deltareg server check",
        )
    return StoreMisconfigured(f"{where} cannot be used: {error}", fix=_OTHER_FIX)
