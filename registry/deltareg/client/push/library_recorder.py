"""Has the library that wrote a delta compute golden outputs for a push, in a process of its own.

They are computed once for the same files on the same base, and kept in the cache: the next push of them
takes the same bytes, so that it is the same version. Nothing is written to the delta's own folder.
"""

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable

from deltareg.client.bases.bases import KnownBase
from deltareg.client.context import Context
from deltareg.client.folders.folder import Folder
from deltareg.errors import Misconfigured
from deltareg.host.parts import missing_of
from deltareg.host.worker_process import ask
from deltareg.identity.manifest import ManifestFile
from deltareg.suites.golden_file import GOLDEN_FILE

_PACKAGES = {"kohya": "diffusers"}
_MOST_S = 180.0


def find_recorded(context: Context, base: KnownBase, files: Iterable[ManifestFile]) -> bytes | None:
    """Return what was recorded on this machine of these very files on that base; None where nothing was."""
    return context.cache.note(_name(base, files))


def record_by_library(
    context: Context, folder: Folder, base: KnownBase, files: Iterable[ManifestFile], *, library: str
) -> bytes:
    """Have the library compute outputs, and keep them; of two at once, one counts for both.

    Args:
        context: The client's surroundings.
        folder: The opened folder of the delta, which stays as it is.
        base: The base, whose folder is at hand.
        files: The files of the delta.
        library: What wrote the delta, as its files name it.

    Raises:
        DeltaregError: It could not.
    """
    assert base.folder is not None
    lacking = missing_of("verify")
    package = _PACKAGES.get(library, library)
    if not lacking and importlib.util.find_spec(package) is None:
        lacking = [package]
    if lacking:
        raise Misconfigured(f"{lacking[0]} is not installed here")
    meter = context.progress.task(f"recording golden outputs by {package}", None)
    try:
        with context.cache.draft() as place:
            place.mkdir()
            into = place / GOLDEN_FILE
            request = {
                "delta": folder.path.absolute(),
                "base": base.folder.path.absolute(),
                "cache": context.config.cache_dir.absolute(),
                "convention": folder.convention,
                "device": _device(),
                "into": into,
            }
            ask("golden", json.dumps(request, default=str), timeout_s=_MOST_S, is_silent=True)
            return context.cache.keep_first(_name(base, files), into.read_bytes())
    finally:
        meter.close()


def _name(base: KnownBase, files: Iterable[ManifestFile]) -> str:
    listed = sorted((file.path, str(file.digest)) for file in files if file.path != GOLDEN_FILE)
    of = json.dumps([str(base.view.root), base.identity, listed]).encode()
    return f"golden-{hashlib.sha256(of).hexdigest()}"


def _device() -> str:
    """Leave a GPU alone that this process trains on."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return "cpu" if cuda is not None and cuda.is_initialized() else "auto"
