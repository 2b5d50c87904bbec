"""A store in a bucket behind S3's interface: AWS, Ceph, Swift and what else speaks it.

Nothing beyond PUT, multipart upload, ranged GET, HEAD, LIST and DELETE is used: conditional writes
and the store's own checksums differ too much between servers to rest anything on them. Requests
carry the SHA-256 of their payload in the signature, so a part that changes on the way is refused.
"""

import logging
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, cast

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from deltareg.errors import BlobMissing, Conflict, StoreMisconfigured, StoreUnavailable
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
from deltareg.store.buckets import check_lifetime, cut_parts, fetch_signed
from deltareg.store.probe import probe
from deltareg.store.s3.errors import s3_errors, status_of
from deltareg.store.s3.options import S3Options

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

_log = logging.getLogger(__name__)

PART_BYTES = 8 << 20
"""Bytes sent in one request; what is shorter goes up in a single PUT."""

_LOCKED_FOR = timedelta(days=365)
_CONNECTIONS = 64
_NOT_FOUND = 404
_REFUSED = frozenset({400, 401, 403})
_AWAY = frozenset({500, 502, 503, 504})


class S3Store:
    """Objects of one bucket, under a prefix; the connections are shared by all threads."""

    def __init__(self, bucket: str, prefix: str, *, options: S3Options) -> None:
        """Keep the settings; nothing is sent before the first call.

        Args:
            bucket: The bucket, which exists already.
            prefix: What goes before every key: empty, or a path that ends in `/`.
            options: Endpoint, credentials and patience.

        Raises:
            StoreMisconfigured: The settings cannot be right.
        """
        self._bucket = bucket
        self._prefix = prefix
        self._locks: bool | None = None
        self._where = f"{options.endpoint_url or 'https://s3.amazonaws.com'}/{bucket}"
        with s3_errors(self._where):
            try:
                self._client = _connect(options)
            except ValueError as error:  # how the library refuses a malformed endpoint
                raise StoreMisconfigured(f"{self._where} cannot be used: {error}") from error

    def write(self, key: str, body: Iterable[bytes]) -> int:
        if self._head(key) is not None:
            raise Conflict(key_taken(key))
        parts = cut_parts(body, PART_BYTES)
        first = next(parts, bytearray())
        if len(first) < PART_BYTES:
            sent = self._put(key, first)
        else:
            sent = self._put_parts(key, chain((first,), parts))
        stored = self._head(key)
        if stored != sent:
            raise StoreUnavailable(f"{self._where} took {sent} bytes of {key} and holds {stored}")
        return sent

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        size = self.size(key)
        if size is None:
            raise BlobMissing(key)
        chunks = self._chunks(key, start, range_end(key, size, start, stop))
        next(chunks)  # sends the request, so that the call itself says what is wrong
        return chunks

    def size(self, key: str) -> int | None:
        size = self._head(key)
        if size is None:
            self._list_one(key)  # a missing bucket answers HEAD as a missing object does
        return size

    def delete(self, key: str) -> None:
        parse_deletable(key)
        with s3_errors(self._where):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def keys(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        check_prefix(prefix)
        return self._listing(prefix)

    def url(self, key: str, *, expires_s: int) -> str | None:
        parse_key(key)
        check_lifetime(expires_s)
        with s3_errors(self._where):
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": self._prefix + key}, ExpiresIn=expires_s
            )

    def keep(self, name: str, data: bytes) -> bool:
        parse_evidence(name)
        locks = self._locks_objects()
        if name in self._names(name):
            return locks
        with s3_errors(self._where):
            if locks:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._prefix + name,
                    Body=data,
                    ChecksumAlgorithm="SHA256",
                    ObjectLockMode="GOVERNANCE",
                    ObjectLockRetainUntilDate=datetime.now(UTC) + _LOCKED_FOR,
                )
            else:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)
        return locks

    def read_log(self, log: str) -> Iterator[bytes]:
        for name in sorted(self._names(folder_of_log(log))):
            try:
                with s3_errors(self._where, key=name):
                    answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
                    data = answer["Body"].read()
            except BlobMissing:
                if is_of_backup(name):
                    continue
                raise
            yield data

    def clock(self) -> float:
        """Return the store's time, in seconds since the epoch, as it dates its answers."""
        with s3_errors(self._where):
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        return parsedate_to_datetime(headers["date"]).timestamp()

    def check(self) -> None:
        self._list_one("")
        with s3_errors(self._where):
            name = f"{self._prefix}blobs/check"
            upload = self._client.create_multipart_upload(Bucket=self._bucket, Key=name)
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=name, UploadId=upload["UploadId"])
        probe(self, where=self._where, fetch=fetch_signed)

    def _put(self, key: str, data: bytearray) -> int:
        """Send a short object in one request."""
        with s3_errors(self._where):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=_as_body(data))
        return len(data)

    def _put_parts(self, key: str, parts: Iterable[bytearray]) -> int:
        """Send a long object in parts; what was sent is taken back on any failure."""
        name, sent = self._prefix + key, 0
        done: list[CompletedPartTypeDef] = []
        with s3_errors(self._where):
            answer = self._client.create_multipart_upload(Bucket=self._bucket, Key=name)
        upload_id = answer["UploadId"]
        try:
            for number, part in enumerate(parts, start=1):
                done.append({"PartNumber": number, "ETag": self._put_part(name, upload_id, number, part)})
                sent += len(part)
            with s3_errors(self._where):
                self._client.complete_multipart_upload(
                    Bucket=self._bucket, Key=name, UploadId=upload_id, MultipartUpload={"Parts": done}
                )
        except BaseException:
            self._abort(name, upload_id)
            raise
        return sent

    def _put_part(self, name: str, upload_id: str, number: int, part: bytearray) -> str:
        """Send one part and return its tag."""
        with s3_errors(self._where):
            answer = self._client.upload_part(
                Bucket=self._bucket, Key=name, UploadId=upload_id, PartNumber=number, Body=_as_body(part)
            )
        return answer["ETag"]

    def _abort(self, name: str, upload_id: str) -> None:
        """Take back the parts of a failed upload; the failure itself is what gets reported."""
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=name, UploadId=upload_id)
        except (BotoCoreError, ClientError):
            _log.warning(
                "parts stay in the bucket until its lifecycle rule aborts old uploads",
                extra={"object": name, "upload": upload_id},
                exc_info=True,
            )

    def _chunks(self, key: str, start: int, end: int) -> Generator[bytes, None, None]:
        """Give an empty chunk once the answer has begun, then the range."""
        if start == end:
            yield b""
            return
        at, span = start, f"bytes {start}-{end - 1}/"
        with s3_errors(self._where, key=key):
            answer = self._client.get_object(
                Bucket=self._bucket, Key=self._prefix + key, Range=f"bytes={start}-{end - 1}"
            )
        body = answer["Body"]
        try:
            if not answer.get("ContentRange", "").startswith(span):
                raise StoreMisconfigured(f"{self._where} does not answer ranges: asked for {span}")
            yield b""
            while at < end:
                with s3_errors(self._where):
                    chunk = body.read(min(CHUNK_BYTES, end - at))
                if not chunk:
                    raise StoreUnavailable(f"{self._where} cut {key} off at byte {at} of {end}")
                at += len(chunk)
                yield chunk
        finally:
            body.close()

    def _listing(self, prefix: str) -> Iterator[tuple[str, int]]:
        """List objects page by page."""
        return ((key, size) for key, size in self._entries(prefix) if is_key(key))

    def _names(self, prefix: str) -> list[str]:
        """List what is there, of whatever layout."""
        return [name for name, _ in self._entries(prefix)]

    def _entries(self, prefix: str) -> Iterator[tuple[str, int]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        turn = iter(pages)
        while True:
            with s3_errors(self._where):
                page = next(turn, None)
            if page is None:
                return
            for entry in page.get("Contents", []):
                yield entry.get("Key", "").removeprefix(self._prefix), entry.get("Size", 0)

    def _locks_objects(self) -> bool:
        """Whether the bucket locks objects; asked once, and not where it does not know of locks."""
        if self._locks is None:
            with s3_errors(self._where):
                try:
                    answer = self._client.get_object_lock_configuration(Bucket=self._bucket)
                except ClientError as error:  # most stores have none, and say so in many ways
                    if status_of(error) in _AWAY:
                        raise
                    self._locks = False
                else:
                    found = answer.get("ObjectLockConfiguration", {})
                    self._locks = found.get("ObjectLockEnabled") == "Enabled"
        return self._locks

    def _head(self, key: str) -> int | None:
        """Ask for an object's size; None when it, or its bucket, is missing."""
        parse_key(key)
        with s3_errors(self._where):
            try:
                return self._head_once(key)
            except ClientError as error:
                if status_of(error) not in _REFUSED:
                    raise
            self._list_one(key)  # an answer to HEAD gives no reason, this one does
            return self._head_once(key)  # it was over meanwhile: a clock that was set, say

    def _head_once(self, key: str) -> int | None:
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
        except ClientError as error:
            if status_of(error) == _NOT_FOUND:
                return None
            raise
        return answer["ContentLength"]

    def _list_one(self, prefix: str) -> None:
        """Send the cheapest request whose refusal says why."""
        with s3_errors(self._where):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix + prefix, MaxKeys=1)


_SESSION_LOCK = Lock()  # two clients must not be made of one session at once


@cache
def _session() -> Session:
    """Give the one session of this process, which reads what the library knows of S3 once."""
    return Session()


def _connect(options: S3Options) -> "S3Client":
    """Make the client; its connections open when they are needed."""
    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": options.addressing_style, "payload_signing_enabled": True},
        retries={"mode": "standard", "total_max_attempts": options.max_attempts},
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        max_pool_connections=_CONNECTIONS,
        request_checksum_calculation=options.checksum_mode,
        response_checksum_validation=options.checksum_mode,
    )
    with _SESSION_LOCK:
        # The stubs of the library's other services are not installed: overloads are unknown.
        return _session().client(  # pyright: ignore[reportUnknownMemberType]
            "s3",
            endpoint_url=options.endpoint_url,
            region_name=options.region,
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            config=config,
        )


def _as_body(part: bytearray) -> bytes:
    """Hand over a part without a copy: the library takes a bytearray, its stubs leave it out."""
    return cast("bytes", part)
