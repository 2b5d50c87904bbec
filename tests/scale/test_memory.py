"""A server is as large after ten thousand pushes as after its first hundred."""

import os
import shutil
from pathlib import Path

import pytest

from tests.benchmarks.llama_files import Shape, write_base
from tests.e2e.test_data_path import same_files
from tests.scale.placeholders import BASE
from tests.scale.template import write_lora

PUSHES = int(os.environ.get("DELTAREG_TEST_PUSHES", "10000"))
WARM = 100
LINES = 20


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_ten_thousand_pushes_leave_a_server_as_large_as_a_hundred(kind, programs, request, tmp_path):
    url = None if kind == "sqlite" else request.getfixturevalue("postgresql_url")
    server = programs.api(database_url=url, requests_per_minute=10**9).start()
    shape, sizes = Shape(1, hidden=32, inner=32, heads=4, key_heads=4, vocabulary=64), {0: resident_mb(server)}
    with server.client(tmp_path / "cache", cache_max_bytes=10**8) as author:
        write_base(tmp_path / BASE, shape)
        author.bases.push(tmp_path / BASE, BASE)
        ref, folder = "", tmp_path
        for number in range(1, PUSHES + 1):
            folder = tmp_path / f"delta-{number}"
            write_lora(folder, shape, tensors=8, seed=number, base=BASE)
            ref = author.push(folder, f"team/line{number % LINES}", base=BASE).version.ref
            if number in {1, WARM} or number % max(PUSHES // 10, 1) == 0:
                sizes[number] = resident_mb(server)
                print(f"{kind}: {number:,} pushes, {sizes[number]:.0f} MB resident", flush=True)
            if number < PUSHES:
                shutil.rmtree(folder)
        author.pull(ref, tmp_path / "out")

    assert same_files(tmp_path / "out", folder)
    assert sizes[PUSHES] <= 1.3 * sizes[WARM]


def resident_mb(server):
    """Give what a server's process has resident, in MB."""
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
