"""Resolves references to versions, and finds their manifests and API paths."""

from deltareg.client.context import Context
from deltareg.digest import Digest
from deltareg.errors import Blocked, IntegrityFailure, InvalidInput
from deltareg.identity.manifest import Manifest
from deltareg.refs import Ref, parse_base
from deltareg.wire import VersionDetail, VersionInfo

BASE = "base:"
"""What stands before the name of a base where versions are named, too."""


def resolve(context: Context, ref: Ref, *, bare: str) -> VersionDetail:
    """Ask the server which version a reference means."""
    return context.api.get("/resolve", VersionDetail, ref=str(ref), bare=bare)


def resolve_live(context: Context, ref: Ref, *, bare: str) -> VersionDetail:
    """Resolve a reference to a version whose bytes are about to be used, cached or fetched.

    Raises:
        Blocked: The version is deleted; its cached files are refused as well.
    """
    version = resolve(context, ref, bare=bare)
    refuse_deleted(version)
    return version


def refuse_deleted(version: VersionInfo) -> None:
    """Refuse a version that is deleted; its cached files are refused as well.

    Raises:
        Blocked: It is deleted.
    """
    if version.is_deleted:
        raise Blocked(
            f"{version.ref} is deleted", fix=f"bring it back, while its bytes are there: deltareg restore {version.ref}"
        )


def fetch_manifest(context: Context, version: VersionInfo) -> Manifest:
    """Return the manifest of a version, from the cache if it is there.

    Raises:
        IntegrityFailure: The server sent another manifest.
    """
    digest = Digest.parse(version.digest)
    raw = context.cache.manifest(digest)
    if raw is None:
        path = version_path(Ref.parse(version.ref))
        raw = context.api.send("GET", f"{path}/manifest").content
        if Manifest.digest_of(raw) != digest:
            raise IntegrityFailure(f"the manifest of {version.ref} is not what its digest says")
        context.cache.keep_manifest(digest, raw)
    return Manifest.decode(raw)


def version_path(ref: Ref) -> str:
    """Return the API path of a version that is named by its number."""
    return f"/deltas/{ref.line.namespace}/{ref.line.name}/versions/{ref.version}"


def path_of_one(context: Context, text: str) -> str:
    """Return the API path of the one version that a reference names; a bare line is refused.

    Raises:
        InvalidInput: The reference names a line.
    """
    ref = Ref.parse(text)
    if ref.is_bare:
        raise InvalidInput(f"{ref} names a line, not a version", fix=f"name one: {ref}:v1")
    version = resolve(context, ref, bare="newest")
    return version_path(Ref.parse(version.ref))


def base_path(name: str) -> str:
    """Return the API path of a base, which may be a version (`ns/name:v3`)."""
    name = name.removeprefix(BASE)
    if ":" not in name:
        return f"/bases/{parse_base(name).replace('/', '~')}"
    ref = Ref.parse(name)
    return f"/deltas/{ref.line.namespace}/{ref.line.name}/versions/{ref.version}/as-base"
