"""Detecting changed weight files, by a digest of each of them."""

from pathlib import Path

from blake3 import blake3

_THREADS = blake3.AUTO


def weights_digests(folder: Path) -> dict[str, str]:
    """Digest the safetensors files directly in a folder, by name: `blake3:<64 hex>`."""
    digests: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors")):
        if path.is_file():
            hasher = blake3(max_threads=_THREADS)
            hasher.update_mmap(path)
            digests[path.name] = f"blake3:{hasher.hexdigest()}"
    return digests
