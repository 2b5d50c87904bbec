"""Damaged containers are refused or come out right: no crash, no hang, no wrong bytes, no flood.

What is damaged, and how, is in `fuzz_corpus` and `fuzz_mutations`; it is decoded in a process of
its own (`fuzz_child`), by the native kernel and by NumPy, which must say the same.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deltareg.codec.codecs import open_codecs
from deltareg.codec.native_kernel import load
from tests.codec.fuzz_corpus import DTYPES, containers
from tests.codec.test_sanitizers import FLAGS, SOURCE
from tests.conftest import REPOSITORY

SEED = 7
MEMORY_BYTES = 64 << 20
SIDES = ["numpy"] if load() is None else ["native", "numpy"]
STEP = 25_000


def fuzz(tmp_path, begin, end, *, mode="damage", seed=SEED, env=(), **bounds):
    """Run cases in a child; give how many ended how, and the growth of memory."""
    at = tmp_path / "at"
    ask = {"seed": seed, "begin": begin, "end": end, "mode": mode, "at": str(at), **bounds}
    ended = subprocess.run(
        [sys.executable, "-m", "tests.codec.fuzz_child", json.dumps(ask)],
        cwd=REPOSITORY,
        env={**os.environ, **dict(env)},
        capture_output=True,
        text=True,
        check=False,
    )
    last = at.read_text().strip() if at.exists() else "none"
    told = f"seed {seed}, case {last}, status {ended.returncode}: {json.dumps(ask)}"
    assert ended.returncode == 0, f"{told}\n{ended.stderr[-4000:]}"
    report = json.loads(ended.stdout)
    assert sum(report["counts"].values()) == end - begin
    assert report["growth_kib"] <= MEMORY_BYTES >> 10, told
    return report["counts"]


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """Build the kernel with both sanitizers; give it and what a process that loads it needs."""
    compiler = shutil.which("gcc")
    runtime = compiler and told([compiler, "-print-file-name=libasan.so"])
    if not runtime or not Path(runtime).is_absolute():
        pytest.skip("needs gcc with libasan")
    library = tmp_path_factory.mktemp("sanitized") / "kernel.so"
    told([compiler, *FLAGS, "-o", str(library), str(SOURCE)])
    # The interpreter keeps what it has at its end; freed memory is kept back to find its use.
    options = "detect_leaks=0:quarantine_size_mb=8"
    env = {"LD_PRELOAD": runtime, "ASAN_OPTIONS": options, "PYTHONMALLOC": "malloc"}
    return {"library": str(library), "sides": ["native"], "env": env}


def told(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_every_codec_is_there_in_every_width_that_it_writes():
    made = containers()

    chunks = {
        (chunk.codec, wanted.item_bytes)
        for container in made
        for wanted in container.wanted
        for chunk in container.storage.pieces[wanted.piece.digest].chunks
    }
    narrow = {codec.id for codec in open_codecs().values() if (codec.id, 1) not in chunks}
    assert chunks >= {(i, width) for i in open_codecs() for width in DTYPES if width > 1}
    assert narrow <= {3, 4, 6, 8, 9, 10}, "single bytes are never words; any other codec takes them"


def test_damaged_containers_are_refused_or_right(tmp_path):
    counts = fuzz(tmp_path, 0, 2_000, sides=SIDES, memory_bytes=MEMORY_BYTES)

    assert set(counts) >= {
        "damaged_payload: IntegrityFailure",
        "damaged_payload: ended",
        "damaged_map: Refused",
        "damaged_pack: IntegrityFailure",
        "damaged_chunks: IntegrityFailure",
    }


def test_cut_containers_are_refused(tmp_path):
    counts = fuzz(tmp_path, 0, 500, mode="cut", sides=SIDES, memory_bytes=MEMORY_BYTES)

    assert set(counts) == {"cut_map: Refused", "cut_pack: IntegrityFailure", "cut_payload: IntegrityFailure"}


def test_the_kernel_decodes_damaged_containers_cleanly(tmp_path, sanitized):
    assert fuzz(tmp_path, 0, 500, **sanitized)


@pytest.mark.soak
@pytest.mark.parametrize("begin", range(0, 200_000, STEP))
def test_200_000_damaged_containers_are_refused_or_right(tmp_path, begin):
    seed = secrets.randbits(32)

    fuzz(tmp_path, begin, begin + STEP, seed=seed, sides=SIDES, memory_bytes=MEMORY_BYTES)


@pytest.mark.soak
def test_5_000_cut_containers_are_refused(tmp_path):
    seed = secrets.randbits(32)

    counts = fuzz(tmp_path, 0, 5_000, mode="cut", seed=seed, sides=SIDES, memory_bytes=MEMORY_BYTES)

    assert not [what for what in counts if what.endswith("ended")]


@pytest.mark.soak
@pytest.mark.parametrize("mode", ["damage", "cut"])
def test_the_kernel_decodes_25_000_more_of_each_cleanly(tmp_path, sanitized, mode):
    fuzz(tmp_path, 0, STEP, mode=mode, seed=secrets.randbits(32), **sanitized)
