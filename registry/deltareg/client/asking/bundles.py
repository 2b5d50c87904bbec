"""Asks for versions with what a pull of them takes, in one request where the server knows how."""

import hashlib
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from deltareg.client.asking.resolving import refuse_deleted, resolve
from deltareg.client.context import Context
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref
from deltareg.wire import VersionDetail
from deltareg.wire.bundles import BUNDLED_MOST, BundlePart, read_bundle

HAD_MOST = 2
"""Of how many versions to say, for each of several that are asked for, that they are here."""
_NOTED = 8


@dataclass(frozen=True, slots=True)
class BroughtVersion:
    """What a reference means now, and what came along.

    Attributes:
        version: The version.
        storage: Its storage map as it is now; empty if it did not come along.
        fetched_bytes: Bytes of packs that came along, and are in the cache now.
    """

    version: VersionDetail
    storage: bytes = b""
    fetched_bytes: int = 0


def ask_versions(
    context: Context, refs: Sequence[Ref], *, bare: str, have: Collection[str] = (), is_whole: bool = True
) -> list[BroughtVersion]:
    """Ask which versions references mean, for their bytes to be used; what is small comes along.

    Manifests and packs that came are in the cache when this returns, each with its digest checked.

    Args:
        context: The client's surroundings.
        refs: The references.
        bare: What `ns/name` alone means.
        have: Digests of versions whose files are here, if the references still mean them.
        is_whole: Whether all files are wanted; of a part of them, nothing comes along.

    Raises:
        NotFound: A reference leads nowhere.
        Blocked: A version is deleted; its cached files are refused as well.
        IntegrityFailure: A manifest is not what its digest says.
    """
    brought: list[BroughtVersion] = []
    for begin in range(0, len(refs), BUNDLED_MOST):
        some = refs[begin : begin + BUNDLED_MOST]
        brought += _ask(context, some, bare=bare, have=have) if is_whole else _resolve(context, some, bare=bare)
    for ref, one in zip(refs, brought, strict=True):
        refuse_deleted(one.version)
        known = lately_pulled(context, ref)
        if one.version.digest not in known[:1]:
            others = [each for each in known if each != one.version.digest]
            context.cache.keep_note(_name(context, ref), "\n".join([one.version.digest, *others][:_NOTED]).encode())
    return brought


def lately_pulled(context: Context, ref: Ref) -> list[str]:
    """Return the digests of versions of a reference's line that were pulled lately, the latest first.

    Which version it means now, only the server says: this tells it what need not come along.
    """
    return (context.cache.note(_name(context, ref)) or b"").decode(errors="replace").split()


def _ask(context: Context, refs: Sequence[Ref], *, bare: str, have: Collection[str]) -> list[BroughtVersion]:
    query = {
        "ref": [str(ref) for ref in refs],
        "bare": bare,
        "have": [each for each in have if each][: HAD_MOST * BUNDLED_MOST],
    }
    try:
        answer = context.api.send("GET", "/bundle", query=query)
    except NotFound:  # a server of before has no bundles; for a reference that leads nowhere, it says the same again
        return _resolve(context, refs, bare=bare)
    head, contents = read_bundle(answer.content)
    storage: dict[int, bytes] = {}
    fetched_bytes = dict.fromkeys(range(len(head.versions)), 0)
    for part, content in zip(head.parts, contents, strict=True):
        version = head.versions[part.version]
        match part.kind:
            case "manifest":
                _keep_manifest(context, version, bytes(content))
            case "storage":
                storage[part.version] = bytes(content)
            case "pack":
                fetched_bytes[part.version] += _keep_pack(context, part, content)
    return [
        BroughtVersion(version, storage.get(number, b""), fetched_bytes[number])
        for number, version in enumerate(head.versions)
    ]


def _resolve(context: Context, refs: Sequence[Ref], *, bare: str) -> list[BroughtVersion]:
    return [BroughtVersion(resolve(context, ref, bare=bare)) for ref in refs]


def _keep_manifest(context: Context, version: VersionDetail, raw: bytes) -> None:
    digest = Digest.parse(version.digest)
    if Manifest.digest_of(raw) != digest:
        raise IntegrityFailure(f"the manifest of {version.ref} is not what its digest says")
    if context.cache.manifest(digest) is None:
        context.cache.keep_manifest(digest, raw)


def _keep_pack(context: Context, part: BundlePart, content: memoryview) -> int:
    """Keep bytes of a pack and return how many; a pack that is not what its digest says is fetched by itself."""
    digest, body = Digest.parse(part.digest), [bytes(content)]
    if part.begin is not None:  # whether they are right shows when their chunks are decoded
        context.cache.parts.keep(digest, part.begin, body)
        return len(content)
    with suppress(IntegrityFailure):
        context.cache.keep_blob(digest, body, size_bytes=len(content))
        return len(content)
    return 0


def _name(context: Context, ref: Ref) -> str:
    return hashlib.sha256(f"pulled of {ref.line} at {context.config.server}".encode()).hexdigest()
