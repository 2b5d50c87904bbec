"""lmzip: an archive of models in which a later one is the XOR with an earlier, by rANS.

It works on files. The base's archive is made before the clock starts; counted is what the archive
grows by.
"""

import shutil

import numpy as np

from tests.benchmarks.peers.peer import Peer, Stored
from tests.benchmarks.weights import read

_ALONE, _BOTH = "alone.lmz", "both.lmz"


def encode(weights, scratch):
    import lmz

    archive = scratch / _ALONE
    archive.unlink(missing_ok=True)
    lmz.compress(str(weights.files(scratch)[0]), str(archive), workers=1)
    return Stored(archive.stat().st_size, archive)


def prepare(weights, scratch):
    import lmz

    archive = scratch / _BOTH
    archive.unlink(missing_ok=True)
    lmz.compress(str(weights.files(scratch)[1]), str(archive), workers=1)


def append(weights, scratch):
    import lmz

    archive = scratch / _BOTH
    before = archive.stat().st_size
    lmz.append(str(archive), str(weights.files(scratch)[0]), workers=1)
    return Stored(archive.stat().st_size - before, archive)


def decode(stored, weights, scratch):
    import lmz

    name, target = weights.files(scratch)[0].name, scratch / "out"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    lmz.extract(str(stored.parts), name, str(target / name), workers=1)
    yield np.ascontiguousarray(read(target / name)[2]).data


PEERS = (
    Peer("lmzip", encode, decode, needs=("lmz",)),
    Peer("lmzip, delta", append, decode, needs=("lmz",), uses_base=True, prepare=prepare),
)
