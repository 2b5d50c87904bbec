"""A store in a bucket of Google Cloud Storage.

An object gets its name in the last request, on the condition that nothing has that name
(`ifGenerationMatch=0`): the bucket itself refuses a second write, which S3's interface does not
promise. Evidence is written on the same condition, and not locked.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

from deltareg.errors import BlobMissing, Conflict, DeltaregError, StoreMisconfigured, StoreUnavailable
from deltareg.store.blob_store import (
    CHUNK_BYTES,
    check_prefix,
    folder_of_log,
    is_key,
    is_of_backup,
    key_taken,
    parse_deletable,
    parse_evidence,
    parse_key,
    range_end,
)
from deltareg.store.buckets import check_lifetime, cut_parts, fetch_signed, read_bucket_url
from deltareg.store.probe import probe
from deltareg.store.schemes import StoreScheme, StoreSetting

PART_BYTES: Final = 4 << 20
"""Bytes sent in one request; what is shorter goes up whole in one."""
_SPAN_BYTES: Final = 2 << 20  # asked for in one request, which is made again where it was cut off
_TIMEOUT_S: Final = (3.0, 20.0)  # for a connection, and for the next bytes
_PATIENCE_S: Final = 15.0
_MEDIA: Final = "application/octet-stream"
_TEMPORARY: Final = frozenset({408, 429, 500, 502, 503, 504})
_FIXES: Final = {
    401: "give the credentials of a service account that are valid, or those of this machine",
    403: "let this account get, create, delete and list objects of the bucket",
    404: "create the bucket, or correct its name in the store's URL",
}
_OTHER_FIX: Final = "compare endpoint, bucket and credentials with what the store expects"


@dataclass(frozen=True, slots=True)
class GcsOptions:
    """Who we are there, and where it answers.

    Attributes:
        credentials_file: None takes what Google's library finds: the machine's own account.
        endpoint_url: None for Google's own. One of `http://` is shown no credentials: an emulator.
    """

    credentials_file: Annotated[
        Path | None, StoreSetting("Key file of a service account; the machine's own when unset.")
    ] = None
    endpoint_url: Annotated[str | None, StoreSetting("Endpoint of Cloud Storage; Google's own when unset.")] = None


class GcsStore:
    """Objects of one bucket, under a prefix; the connections are shared by all threads."""

    def __init__(self, bucket: str, prefix: str, *, client: Any) -> None:  # noqa: ANN401  # untyped
        """Use a client of Google's library; nothing is sent before the first call."""
        self._client, self._prefix, self._where = client, prefix, f"gs://{bucket}"
        self._bucket = client.bucket(bucket)
        retry = import_module("google.cloud.storage.retry").DEFAULT_RETRY
        self._patience = {"retry": retry.with_timeout(_PATIENCE_S), "timeout": _TIMEOUT_S}

    def write(self, key: str, body: Iterable[bytes]) -> int:
        parse_key(key)
        is_taken = self._blob_there(key) is not None  # asked first: the body need not be sent
        sent = None if is_taken else self._create(key, body)
        if sent is None:
            raise Conflict(key_taken(key))
        stored = self.size(key)
        if stored != sent:
            raise StoreUnavailable(f"{self._where} took {sent} bytes of {key} and holds {stored}")
        return sent

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        blob = self._look(key)
        if blob is None:
            raise BlobMissing(key)
        chunks = self._chunks(blob, key, start, range_end(key, int(blob.size or 0), start, stop))
        next(chunks)  # sends the request, so that the call itself says what is wrong
        return chunks

    def size(self, key: str) -> int | None:
        blob = self._look(key)
        return None if blob is None else int(blob.size or 0)

    def delete(self, key: str) -> None:
        parse_deletable(key)
        with gcs_errors(self._where):
            try:
                self._blob(key).delete(**self._patience)
            except _errors().NotFound:
                self._list_one()

    def keys(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        check_prefix(prefix)
        return ((key, size) for key, size in self._entries(prefix) if is_key(key))

    def url(self, key: str, *, expires_s: int) -> str | None:
        parse_key(key)
        check_lifetime(expires_s)
        signing = import_module("google.auth.credentials").Signing
        if not isinstance(self._client._credentials, signing):  # noqa: SLF001  # has no other door
            return None  # an account of a machine, which holds no key to sign with
        signed: str = self._blob(key).generate_signed_url(
            version="v4", expiration=timedelta(seconds=expires_s), method="GET"
        )
        return signed

    def keep(self, name: str, data: bytes) -> bool:
        self._create(parse_evidence(name), [data])
        return False

    def read_log(self, log: str) -> Iterator[bytes]:
        for name in sorted(name for name, _ in self._entries(folder_of_log(log))):
            try:
                with gcs_errors(self._where, key=name):
                    data: bytes = self._blob(name).download_as_bytes(**self._patience)
            except BlobMissing:
                if is_of_backup(name):
                    continue
                raise
            yield data

    def check(self) -> None:
        self._list_one()
        probe(self, where=self._where, fetch=fetch_signed)

    def _create(self, name: str, body: Iterable[bytes]) -> int | None:
        """Write an object and give its size; None where the name is taken.

        A request whose answer was lost is made again, and finds the name taken by itself: the mark
        tells.
        """
        parts, mark = cut_parts(body, PART_BYTES), uuid4().hex
        first = next(parts, bytearray())
        blob = self._blob(name)
        blob.metadata = {"writer": mark}
        try:
            if len(first) < PART_BYTES:
                with gcs_errors(self._where):
                    blob.upload_from_string(bytes(first), content_type=_MEDIA, if_generation_match=0, **self._patience)
                return len(first)
            return self._send_parts(blob, chain((first,), parts))
        except Conflict:
            there = self._blob_there(name)
            marks: dict[str, str] = {} if there is None else there.metadata or {}
            return int(there.size or 0) if there is not None and marks.get("writer") == mark else None

    def _send_parts(self, blob: Any, parts: Iterable[bytearray]) -> int:  # noqa: ANN401  # untyped
        """Send a long object in parts; it is there with the last one."""
        sent = 0
        writer = blob.open(
            "wb", chunk_size=PART_BYTES, content_type=_MEDIA, ignore_flush=True, if_generation_match=0, **self._patience
        )
        try:
            for part in parts:
                with gcs_errors(self._where):
                    writer.write(part)
                sent += len(part)
            with gcs_errors(self._where):
                writer.close()
        except BaseException:
            with suppress(Exception):  # one that is not ended is dropped by Google after a week
                writer.terminate()
            raise
        return sent

    def _chunks(self, blob: Any, key: str, start: int, end: int) -> Generator[bytes, None, None]:  # noqa: ANN401  # untyped
        """Give an empty chunk once the first span is here, then the range."""
        at = start
        span = self._span(blob, key, at, end)
        yield b""
        while at < end:
            yield from (span[n : n + CHUNK_BYTES] for n in range(0, len(span), CHUNK_BYTES))
            at += len(span)
            span = self._span(blob, key, at, end)

    def _span(self, blob: Any, key: str, at: int, end: int) -> bytes:  # noqa: ANN401  # untyped
        """GET the next bytes of the object that was looked at, and of no later one."""
        stop = min(at + _SPAN_BYTES, end)
        if at == end:
            return b""
        with gcs_errors(self._where, key=key):
            span: bytes = blob.download_as_bytes(
                start=at,
                end=stop - 1,
                raw_download=True,
                checksum=None,
                if_generation_match=blob.generation,
                **self._patience,
            )
        if len(span) != stop - at:
            raise StoreUnavailable(f"{self._where} cut {key} off at byte {at + len(span)} of {end}")
        return span

    def _entries(self, prefix: str) -> Iterator[tuple[str, int]]:
        """List what is there, of whatever layout, page by page."""
        turn = iter(
            self._client.list_blobs(
                self._bucket, prefix=self._prefix + prefix, fields="items(name,size),nextPageToken", **self._patience
            )
        )
        while True:
            with gcs_errors(self._where):
                blob = next(turn, None)
            if blob is None:
                return
            yield blob.name.removeprefix(self._prefix), int(blob.size or 0)

    def _look(self, key: str) -> Any | None:  # noqa: ANN401  # untyped
        """Give what is known of an object; None when it is missing, and not its bucket."""
        parse_key(key)
        blob = self._blob_there(key)
        if blob is None:
            self._list_one()  # a missing bucket answers as a missing object does
        return blob

    def _blob_there(self, name: str) -> Any | None:  # noqa: ANN401  # untyped
        blob = self._blob(name)
        with gcs_errors(self._where):
            try:
                blob.reload(**self._patience)
            except _errors().NotFound:
                return None
        return blob

    def _blob(self, name: str) -> Any:  # noqa: ANN401  # untyped
        return self._bucket.blob(self._prefix + name)

    def _list_one(self) -> None:
        """Send the cheapest request whose refusal says why."""
        with gcs_errors(self._where):
            list(self._client.list_blobs(self._bucket, prefix=self._prefix, max_results=1, **self._patience))


@contextmanager
def gcs_errors(where: str, *, key: str | None = None) -> Generator[None, None, None]:
    """Raise our errors in place of the library's.

    Args:
        where: The store's URL, for the message.
        key: The object concerned, when a missing one would be reported.
    """
    errors = _errors()
    auth, media = import_module("google.auth.exceptions"), import_module("google.cloud.storage")
    invalid = media.exceptions.InvalidResponse
    try:
        yield
    except invalid as error:
        raise _translate(error.response.status_code, str(error), where, key) from error
    except errors.GoogleAPICallError as error:
        raise _translate(int(error.code or 0), error.message, where, key) from error
    except (auth.RefreshError, auth.DefaultCredentialsError, auth.MalformedError) as error:
        raise StoreMisconfigured(f"no credentials for {where}: {error}", fix=_FIXES[401]) from error
    except (errors.RetryError, auth.TransportError, media.exceptions.DataCorruption, OSError) as error:
        raise StoreUnavailable(
            f"the store at {where} does not answer: {type(error).__name__}",
            fix="try again; who runs the registry can look: deltareg server check",
        ) from error


def _translate(status: int, said: str, where: str, key: str | None) -> DeltaregError:
    """Choose the error for a refusal."""
    if key is not None and status == 404:
        return BlobMissing(key)
    if status == 412:
        return Conflict(f"{where} holds an object of this name")
    message = f"{where} answered {status}: {said[:300]}"
    if status in _TEMPORARY:
        return StoreUnavailable(message)
    return StoreMisconfigured(message, fix=_FIXES.get(status, _OTHER_FIX))


def _errors() -> Any:  # noqa: ANN401  # untyped
    return import_module("google.api_core.exceptions")


def _open(url: str, options: GcsOptions) -> GcsStore:
    bucket, prefix = read_bucket_url(url)
    endpoint = (options.endpoint_url or "").rstrip("/")
    try:
        library = import_module("google.cloud.storage")
    except ModuleNotFoundError as error:
        raise StoreMisconfigured(
            "this installation has no library for Cloud Storage", fix="pip install 'deltareg[gcs]'"
        ) from error
    given: dict[str, object] = {"client_options": {"api_endpoint": endpoint}} if endpoint else {}
    with gcs_errors(url):
        try:
            if options.credentials_file is not None:
                account = import_module("google.oauth2.service_account").Credentials
                given["credentials"] = account.from_service_account_file(options.credentials_file)
            elif endpoint.startswith("http://"):
                given["credentials"] = import_module("google.auth.credentials").AnonymousCredentials()
            client = library.Client(project=None, **given)
        except (OSError, ValueError) as error:  # a file that is not there, or no key
            raise StoreMisconfigured(f"{url} cannot be used: {error}", fix=_OTHER_FIX) from error
    return GcsStore(bucket, prefix, client=client)


SCHEME = StoreScheme("gs", "gs://bucket/prefix", _open, GcsOptions)
