"""The codecs of the benchmark, one file for those of a library or a paper, found by looking.

A file holds `PEERS`, a tuple of `Peer`, in the order of their rows.
"""

from importlib import import_module
from pkgutil import iter_modules

from tests.benchmarks.peers.peer import Buffer, Peer, Stored

__all__ = ["Buffer", "Peer", "Stored", "all_peers"]


def all_peers() -> dict[str, Peer]:
    """Give every codec by name, ours first."""
    modules = sorted(module.name for module in iter_modules(__path__))
    found: list[Peer] = [peer for name in modules for peer in getattr(import_module(f"{__name__}.{name}"), "PEERS", ())]
    return {peer.name: peer for peer in sorted(found, key=lambda peer: not peer.is_ours)}
