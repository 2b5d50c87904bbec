"""FM-Delta, written anew from its paper: Ning et al., NeurIPS 2024. The coder is `fm_delta.c`.

The paper has fp16 and fp32; bf16 is coded as fp16 is, for only the order of the values counts. The
whole set is one stream under one model, which is kinder to it than a stream a tensor.
"""

import ctypes
import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np

from tests.benchmarks.peers.peer import Peer, Stored
from tests.benchmarks.weights import WORDS, cache_folder

_SOURCE = Path(__file__).with_suffix(".c")
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t


def encode(weights, _):
    words, base = weights.words, weights.base_words
    room = np.empty(words.nbytes // 2 + words.size + 64, np.uint32)
    used = _call("encode", words)(words.ctypes.data, base.ctypes.data, words.size, room.ctypes.data)
    return Stored.of([room.view(np.uint8)[:used].copy().data])


def decode(stored, weights, _):
    frame, base = np.frombuffer(stored.frames[0], np.uint32), weights.base_words
    words = np.empty_like(base)
    call = _call("decode", words)
    call(frame.ctypes.data, frame.size, base.ctypes.data, base.size, words.ctypes.data)
    return [words.view(np.uint8).data]


def _call(name, words):
    assert words.dtype in WORDS.values()
    call = getattr(_library(), f"fm_{name}_{8 * words.itemsize}")
    call.restype = _SIZE if name == "encode" else None
    encoding = (_POINTER, _POINTER, _SIZE, _POINTER)
    call.argtypes = encoding if name == "encode" else (_POINTER, _SIZE, *encoding[1:])
    return call


@cache
def _library():
    """Compile the coder, once for each of its versions."""
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    path = cache_folder() / f"fm_delta-{digest}.so"
    if not path.exists():
        partial = path.with_suffix(".partial")
        command = ["cc", "-O3", "-march=native", "-shared", "-fPIC", "-o", str(partial), str(_SOURCE)]
        subprocess.run(command, check=True)
        partial.rename(path)
    return ctypes.CDLL(str(path))


def _lack():
    return "" if shutil.which("cc") else "needs a C compiler"


PEERS = (Peer("FM-Delta", encode, decode, uses_base=True, lack=_lack),)
