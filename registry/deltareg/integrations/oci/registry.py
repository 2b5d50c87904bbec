"""A registry of OCI artifacts: sends artifacts to it and fetches them.

The login is what `docker login` or `oras login` stored in Docker's settings. A registry without
support for referrers gets them under the tag that the specification defines for that.
"""

import hashlib
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Self
from urllib.parse import urljoin

from deltareg.client.http.bounds import read_whole
from deltareg.documents.json_values import is_list, is_object
from deltareg.errors import Conflict, Forbidden, IntegrityFailure, InvalidInput, NotFound, Unauthenticated, Unavailable
from deltareg.host.lean_httpx import httpx
from deltareg.host.token_files import is_confidential
from deltareg.integrations.oci.content import (
    INDEX,
    MANIFEST,
    MOST_MANIFEST_BYTES,
    Descriptor,
    OciBlob,
    OciBundle,
    decode,
    descriptors_in,
    encode,
)
from deltareg.integrations.oci.logins import find_login
from deltareg.integrations.oci.places import Repository

_CHALLENGE = re.compile(r'(?<!\w)(\w++)="([^"]*+)"')
_ACCEPT = f"{MANIFEST}, {INDEX}"
_READ_S = 120.0
_TIMEOUT = httpx.Timeout(30.0, read=_READ_S)


def fields_of_challenge(text: str) -> dict[str, str]:
    """Return the fields of a challenge, such as `realm="https://…",service="…"`, by name."""
    return dict(_CHALLENGE.findall(text))


class RegistryClient:
    """One repository of a registry; use it as a context manager."""

    def __init__(self, place: Repository, *, transport: httpx.BaseTransport | None = None) -> None:
        """Prepare; no request is sent yet. Hosts on this machine are reached without TLS."""
        address = f"http://{place.host}"
        scheme = "http" if is_confidential(address) else "https"
        self._place, self._login = place, find_login(place.host)
        self._http = httpx.Client(
            base_url=f"{scheme}://{place.host}",
            timeout=_TIMEOUT,
            transport=transport,
            follow_redirects=True,
            headers={"User-Agent": "deltareg"},
        )
        self._authorization = ""

    def __enter__(self) -> Self:
        """Enter a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, artifact: OciBundle, *, tag: str) -> None:
        """Send an artifact under a tag, then its referrers; existing blobs are not sent again."""
        for blob in artifact.blobs:
            self._send_blob(blob)
        self._send_manifest(artifact.manifest, tag)
        untold: list[Descriptor] = []
        for one in artifact.referrers:
            for blob in one.blobs:
                self._send_blob(blob)
            if not self._send_manifest(one.manifest, one.manifest.descriptor.digest):
                untold.append(one.manifest.descriptor)
        if untold:
            self._name_referrers(artifact.manifest.descriptor, untold)

    def manifest(self, reference: str) -> tuple[Descriptor, bytes]:
        """Fetch a manifest or an index by tag or digest.

        Raises:
            NotFound: There is no such manifest.
            IntegrityFailure: The manifest does not match its digest.
        """
        answer = self._ask("GET", f"manifests/{reference}", headers={"Accept": _ACCEPT})
        raw = answer.content
        if len(raw) > MOST_MANIFEST_BYTES:
            raise InvalidInput(f"the manifest {reference} of {self._place} is too long", fix=_WHICH)
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if reference.startswith("sha256:") and digest != reference:
            raise IntegrityFailure(f"{self._place.host} gave another manifest than {reference}")
        kind = str(decode(raw, what=str(self._place)).get("mediaType") or "")
        kind = kind or answer.headers.get("Content-Type", "").partition(";")[0]
        return Descriptor(kind, digest, len(raw)), raw

    @contextmanager
    def blob(self, wanted: Descriptor) -> Generator[Iterator[bytes], None, None]:
        """Open a blob; the caller checks its digest."""
        path = self._path(f"blobs/{wanted.digest}")
        self._ask("HEAD", f"blobs/{wanted.digest}")  # by which one is known there, once
        with _ours(self._place), self._http.stream("GET", path, headers=self._headers()) as answer:
            if answer.is_error:
                answer.read()
            yield self._check_answer(answer).iter_bytes(1 << 20)

    def _send_blob(self, blob: OciBlob) -> None:
        descriptor = blob.descriptor
        if self._ask("HEAD", f"blobs/{descriptor.digest}", may_miss=True).is_success:
            return
        begun = self._ask("POST", "blobs/uploads/", headers={"Content-Length": "0"})
        try:
            where = urljoin(str(begun.url), begun.headers.get("Location", ""))
            url = httpx.URL(where).copy_merge_params({"digest": descriptor.digest})
        except (ValueError, httpx.InvalidURL) as error:
            raise Unavailable(f"{self._place.host} does not say where uploads go") from error
        if url.host != self._http.base_url.host:
            raise Unavailable(f"{self._place.host} sends uploads elsewhere, to {url.host}")
        headers = self._headers() | {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(descriptor.size_bytes),
        }
        with _ours(self._place):
            self._check_answer(self._http.put(url, content=blob.read(), headers=headers))

    def _send_manifest(self, manifest: OciBlob, reference: str) -> bool:
        """Send a manifest; return whether the registry has recorded what it refers to."""
        body = b"".join(manifest.read())
        headers = {"Content-Type": manifest.descriptor.media_type}
        answer = self._ask("PUT", f"manifests/{reference}", headers=headers, content=body)
        return "OCI-Subject" in answer.headers

    def _name_referrers(self, subject: Descriptor, referrers: list[Descriptor]) -> None:
        """Store the list of a manifest's referrers under the tag derived from its digest."""
        tag = subject.digest.replace(":", "-")
        listed_before: list[Descriptor] = []
        with suppress(NotFound):
            _, raw = self.manifest(tag)
            listed_before = descriptors_in(decode(raw, what=tag), "manifests", what=tag)
        new = {one.digest for one in referrers}
        all_referrers = [*(one for one in listed_before if one.digest not in new), *referrers]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [one.to_json() for one in all_referrers]}
        self._send_manifest(OciBlob.of(encode(index), INDEX), tag)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        may_miss: bool = False,
    ) -> httpx.Response:
        def once() -> httpx.Response:
            with _ours(self._place):
                url, sent = self._path(path), self._headers() | (headers or {})
                with self._http.stream(method, url, headers=sent, content=content) as response:
                    return read_whole(response, within_s=_READ_S, most=MOST_MANIFEST_BYTES)

        answer = once()
        if answer.status_code == 401:
            self._authorization = self._authorize(answer)
            answer = once() if self._authorization else answer
        return answer if may_miss and answer.status_code == 404 else self._check_answer(answer)

    def _path(self, path: str) -> str:
        return f"/v2/{self._place.name}/{path}"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def _authorize(self, refused: httpx.Response) -> str:
        """Return the credentials that a registry wants: a realm's token, or name and password."""
        challenge = refused.headers.get("WWW-Authenticate", "")
        scheme, _, rest = challenge.partition(" ")
        basic = f"Basic {self._login}" if self._login else ""
        if scheme.lower() != "bearer":
            return basic
        fields = fields_of_challenge(rest)
        realm = fields.get("realm", "")
        if not realm.startswith(("http://", "https://")) or not is_confidential(realm):
            raise Unauthenticated(
                f"{self._place.host} asks for a token of {realm[:120]!r}, which is not safe to ask",
                fix="ask who runs the registry",
            )
        # What the registry says is needed, and to write where it says nothing of that.
        scope = fields.get("scope") or f"repository:{self._place.name}:pull,push"
        query = {"service": fields.get("service", ""), "scope": scope}
        with _ours(self._place):
            answer = self._http.get(realm, params=query, headers={"Authorization": basic} if basic else {})
        answer_fields = decode(self._check_answer(answer).content, what=realm)
        token = answer_fields.get("token") or answer_fields.get("access_token")
        return f"Bearer {token}" if isinstance(token, str) else basic

    def _check_answer(self, answer: httpx.Response) -> httpx.Response:
        """Return an answer unless it is a refusal.

        Raises:
            DeltaregError: The answer is a refusal.
        """
        if not answer.is_error:
            return answer
        status, reason = answer.status_code, _read_error(answer)
        where = f"{self._place.host} answers {status} for {self._place.name}"
        login = f"log in: docker login {self._place.host}"
        if status == 401:
            raise Unauthenticated(f"{where}: {reason or 'no login'}", fix=login)
        if status == 403:
            raise Forbidden(f"{where}: {reason or 'not allowed'}", fix=login)
        if status == 404:
            raise NotFound(f"{where}: {reason or 'not there'}", fix=f"look at {self._place}")
        if status in {400, 405, 409, 413, 415}:
            raise Conflict(f"{where}: {reason or 'refused'}", fix="it may not take OCI artifacts")
        raise Unavailable(f"{where}: {reason or 'a fault'}", fix="try again")


def _read_error(answer: httpx.Response) -> str:
    """Return a registry's error message, on one line."""
    with suppress(InvalidInput, httpx.ResponseNotRead):
        errors = decode(answer.content, what="the answer").get("errors")
        one = errors[0] if is_list(errors) and errors else None
        if is_object(one):
            return " ".join(f"{one.get('code', '')}: {one.get('message', '')}".split())[:200]
    return ""


@contextmanager
def _ours(place: Repository) -> Generator[None, None, None]:
    try:
        yield
    except httpx.HTTPError as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unavailable(f"{place.host} was not reached: {reason}", fix="try again") from error


_WHICH = "name an artifact that holds a model"
