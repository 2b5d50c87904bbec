"""hf-xet: content-defined chunks of about 64 KB, each stored once, in a store in a folder.

The base lies in the store before the clock starts; counted are the data and index files that it
grows by. It has threads of its own, so the clock on the wall shows more than one core.
"""

import os
import shutil

import numpy as np

from tests.benchmarks.peers.peer import Peer, Stored
from tests.benchmarks.weights import read

_NO_PART = (None, None, None)  # no token, no way to renew it, nobody to tell of progress


def prepare(weights, scratch):
    store = scratch / "xet"
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir()
    if weights.base is not None:
        _upload(weights.files(scratch)[1], store)


def encode(weights, scratch):
    store = scratch / "xet"
    before = _size(store)
    info = _upload(weights.files(scratch)[0], store)
    return Stored(_size(store) - before, info)


def decode(stored, weights, scratch):
    import hf_xet

    target = scratch / "out.safetensors"
    size = weights.files(scratch)[0].stat().st_size
    wanted = hf_xet.PyXetDownloadInfo(str(target), stored.parts.hash, size)
    hf_xet.download_files([wanted], f"local://{scratch / 'xet'}", *_NO_PART)
    yield np.ascontiguousarray(read(target)[2]).data


def _upload(path, store):
    os.environ["HF_XET_CACHE"] = str(store / "cache")  # nothing below the user's home
    os.environ["HF_HOME"] = str(store / "home")
    import hf_xet

    (info,) = hf_xet.upload_files([str(path)], f"local://{store}", *_NO_PART, None)
    return info


def _size(store):
    # Data and shards; its cache of shards and the table of the simulated server are not stored.
    kept = store / "xet" / "xorbs"
    files = (p for folder in ("xorbs", "shards") for p in (kept / folder).glob("*"))
    return sum(path.stat().st_size for path in files if path.suffix != ".tagset")


PEERS = (Peer("hf-xet", encode, decode, needs=("hf_xet",), prepare=prepare),)
