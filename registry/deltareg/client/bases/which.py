"""Finds the registered base that a folder is; of several with the same tensors, the equal one."""

from collections.abc import Sequence

from deltareg.client.asking.resolving import base_path
from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.http.api import Api
from deltareg.delta.base_manifest import base_identity
from deltareg.digest import Digest
from deltareg.errors import BaseMismatch, IntegrityFailure, Problem
from deltareg.identity.manifest import Manifest
from deltareg.identity.whole_base import inert_differences, part_differences, tell_differences
from deltareg.wire import BaseInfo, Page

_MOST = 50
_Known = tuple[BaseInfo, Manifest]


def base_manifest(api: Api, cache: Cache, info: BaseInfo) -> Manifest:
    """Return the manifest of a base, from the cache when it is there.

    Raises:
        IntegrityFailure: The server sent another manifest.
    """
    digest = Digest.parse(info.manifest_digest)
    raw = cache.manifest(digest)
    if raw is None:
        raw = api.send("GET", f"{base_path(info.name)}/manifest").content
        if Manifest.digest_of(raw) != digest:
            raise IntegrityFailure(f"the manifest of {info.name} is not what its digest says")
        cache.keep_manifest(digest, raw)
    return Manifest.decode(raw)


def known_as(api: Api, cache: Cache, folder: BaseFolder) -> BaseInfo:
    """Find the registered base that a folder is.

    Raises:
        BaseMismatch: No registered base has its tensors, or of those that have them none, or
            several, equal it.
    """
    root = str(folder.identity.root)
    infos = api.get("/bases", Page[BaseInfo], root=root, limit=_MOST).items
    if not infos:
        raise BaseMismatch(
            f"the server knows no base with the root of {folder.path} ({root})",
            fix=f"store it first: deltareg base push {folder.path} NAME (or base register)",
        )
    candidates = [(info, base_manifest(api, cache, info)) for info in infos]
    own = folder.identity.whole.identity
    same = [one for one in candidates if base_identity(one[1]).whole.identity == own]
    fitting = [one for one in same if one[1].digest == folder.manifest.digest] or same
    if len(fitting) == 1:
        return fitting[0][0]
    raise _choice(folder, candidates, fitting)


def _choice(folder: BaseFolder, known: Sequence[_Known], fitting: Sequence[_Known]) -> BaseMismatch:
    """Build the error that names the candidates and how the folder differs from each."""
    candidates = fitting or known
    name = candidates[0][0].name
    fix = f"name the one that is meant: --base {name}"
    if not fitting:
        fix = f"{fix}; or store this one: deltareg base push {folder.path} NAME"
    names = ", ".join(info.name for info, _ in candidates)
    message = f"{folder.path} is as much {names}" if fitting else f"{folder.path} is not {names}"
    problems = [
        Problem("base_mismatch", f"{info.name}: {_differs(manifest, folder.manifest)}", fix=fix)
        for info, manifest in candidates
    ]
    if len(problems) == 1:
        message = f"{folder.path} is not {problems[0].message}"
    return BaseMismatch(message, fix=fix, problems=problems)


def _differs(one: Manifest, two: Manifest) -> str:
    parts = part_differences(one, two, same_tensors=True)
    if parts:
        return tell_differences(parts)
    beside = ", ".join(inert_differences(one, two)[:4])
    return f"the same in every part; beside them differ {beside}" if beside else "the same"
