"""The native kernel under AddressSanitizer and UndefinedBehaviorSanitizer, arrays of any size."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SOURCE = REPOSITORY / "registry" / "deltareg" / "codec" / "kernel.c"
FLAGS = [
    "-O1",
    "-g",
    "-fPIC",
    "-shared",
    "-DDR_PLAIN",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from deltareg.codec import native_kernel
from deltareg.codec.classes import divide, one_class

native_kernel.LIBRARY = Path(sys.argv[1])
kernel = native_kernel.load()
assert kernel is not None
rng = np.random.default_rng(11)
for item_bytes in (2, 4, 8):
    for count in (*range(1, 140), 4095, 4096, 4097, 20_000, 30_063):
        given, against = (rng.bytes(count * item_bytes) for _ in range(2))
        given, against = (np.frombuffer(x, f"<u{item_bytes}").copy() for x in (given, against))
        given >>= given.dtype.type(rng.integers(0, 8 * item_bytes))
        kernel.tally(given)
        for classes in (one_class(count), divide(kernel.histogram(against))):
            zigzag, back = np.empty_like(given), np.empty_like(given)
            kernel.divide(given, against, classes, zigzag)
            kernel.restore(zigzag, against, classes, back)
            assert np.array_equal(back, given)
        for width in (2, 4, 8):
            packed, escapes = np.empty(-(-count * width // 8), np.uint8), np.empty_like(given)
            found = kernel.pack(given, width, packed, escapes)
            back = np.empty_like(given)
            assert kernel.unpack(packed, width, back) == found
            kernel.fill(back, (1 << width) - 1, escapes[:found])
            assert np.array_equal(back, given)
            noise = np.frombuffer(rng.bytes(packed.size), np.uint8)
            kernel.unpack(noise, width, back)
print("clean")
"""


@pytest.fixture(scope="module", params=["-DDR_ANY", "-DDR_NARROW"])
def sanitized(request, tmp_path_factory):
    """Build the kernel with both sanitizers; gives it and the runtime that must be there first."""
    compiler = shutil.which("gcc")
    runtime = compiler and _told([compiler, "-print-file-name=libasan.so"])
    if not runtime or not Path(runtime).is_absolute():
        pytest.skip("needs gcc with libasan")
    library = tmp_path_factory.mktemp("sanitized") / "kernel.so"
    _told([compiler, *FLAGS, request.param, "-o", str(library), str(SOURCE)])
    return library, runtime


def test_the_kernel_is_clean(sanitized):
    library, runtime = sanitized
    environ = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps what it has at its end
        "PYTHONMALLOC": "malloc",
    }

    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(library)], env=environ, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout) == (0, "clean\n"), ended.stderr[-3000:]


def _told(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
