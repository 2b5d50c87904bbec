"""Telling whether files of weights are what they were, by a digest over each of them."""

from pathlib import Path

from blake3 import blake3

_THREADS = blake3.AUTO


def weights_digests(folder: Path) -> dict[str, str]:
    """Digest the safetensors files that lie in a folder itself, by name: `blake3:<64 hex>`."""
    digests: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if path.is_file():
            hasher = blake3(max_threads=_THREADS)
            hasher.update_mmap(path)
            digests[path.name] = f"blake3:{hasher.hexdigest()}"
    return digests
