"""A file of more than 4 GiB with tensors of more than 2 GiB, from end to end: no size is kept in 32 bits.

It takes some 25 GB of disk for a while, and ten minutes: a folder of tests in memory has no room for it.
"""

import hashlib
import json
import re
import shutil
import struct
from pathlib import Path

import httpx
import numpy as np
import pytest
import sqlalchemy as sa

from deltareg.db.tables import metadata
from tests.faults.measured import Cli

ROWS, WIDTH, TENSORS = 135_000, 8_192, 2  # 2.06 GiB each
TENSOR_BYTES = ROWS * WIDTH * 2
FILE = "model.safetensors"
GIB, MIB = 1 << 30, 1 << 20
ROOM_BYTES = 30 * GIB
MEMORY_BYTES = 500 * MIB
_BLOCK_ROWS = 1_000


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Give a folder where there is room."""
    folder = tmp_path_factory.mktemp("huge")
    if shutil.disk_usage(folder).free < ROOM_BYTES or folder.is_relative_to("/dev/shm"):
        pytest.skip(f"needs {ROOM_BYTES // GIB} GiB on a disk: PYTEST_DEBUG_TEMPROOT=/var/tmp")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pair(room):
    """Write a base, and a full fine-tune in which each tensor is another one."""
    base, tuned = room / "base", room / "tuned"
    random = np.random.default_rng(3)
    block = (random.standard_normal(_BLOCK_ROWS * WIDTH, np.float32) * 0.02).view("<u4") >> 16
    plain = block.astype("<u2")
    moved = plain.copy()
    moved[::5] ^= 1  # the last bit of every fifth weight
    _write(base, plain, plain)
    _write(tuned, plain, moved)
    return base, tuned


def _write(folder, first, last):
    """Write tensors whose last rows are others than the rest, so that their ends count."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": WIDTH, "vocab_size": ROWS}))
    entries = {
        f"w{number}": {
            "dtype": "BF16",
            "shape": [ROWS, WIDTH],
            "data_offsets": [number * TENSOR_BYTES, (number + 1) * TENSOR_BYTES],
        }
        for number in range(TENSORS)
    }
    head = json.dumps(entries).encode()
    blocks = ROWS // _BLOCK_ROWS
    with (folder / FILE).open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for _ in range(TENSORS):
            for number in range(blocks):
                file.write((last if number >= blocks - 20 else first).tobytes())
    assert (folder / FILE).stat().st_size > 4 * GIB


def sha256_of(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def peak_bytes(pid):
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def test_no_size_of_a_row_is_kept_in_32_bits():
    narrow = [
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.Integer) and not isinstance(column.type, sa.BigInteger)
    ]

    assert narrow == ["server_keys.slot"], "an INTEGER of PostgreSQL ends at 2 GiB"


@pytest.mark.soak
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("where", ["disk", pytest.param("bucket", marks=pytest.mark.s3)])
def test_a_file_of_4_gib_comes_back(processes, programs, postgresql_url, request, pair, room, where):
    base, tuned = pair
    server = programs.api(database_url=postgresql_url, hub="true", **_store(request, where)).start()
    run, measured = (Cli(each, server.url, server.token) for each in (processes, programs))
    # Hubs are answered from what is stored alone, so the base is, once.
    run("base", "push" if where == "disk" else "register", str(base), "huge")
    root = run("base", "fingerprint", str(tuned)).document["root"]
    small = measured("base", "ls")

    pushed = measured("push", str(tuned), "lab/huge", "--base", "huge")
    checked = run("fsck", "--read-data")
    pulled = measured("pull", "lab/huge:v1", "--to", str(room / where / "pulled"))
    made = measured("materialize", "lab/huge:v1", "--out", str(room / where / "made"))

    assert checked.document
    assert sha256_of(room / where / "pulled" / FILE) == sha256_of(tuned / FILE)
    assert made.document["root"] == root
    for done in (pushed, pulled, made):
        assert done.peak_bytes - small.peak_bytes < MEMORY_BYTES
    assert peak_bytes(server.process.pid) < 2 * MEMORY_BYTES
    if where == "disk":
        _check_ranges(server, tuned)
    shutil.rmtree(room / where)
    shutil.rmtree(processes.folder / "user" / "cache", ignore_errors=True)


def _store(request, where):
    if where == "disk":
        return {}
    endpoint = request.getfixturevalue("swift_endpoint")
    return {
        "store_url": f"s3://{request.getfixturevalue('fresh_bucket')()}/huge",
        "s3_endpoint_url": endpoint.url,
        "s3_access_key_id": endpoint.access_key_id,
        "s3_secret_access_key": endpoint.secret_access_key,
        "s3_region": endpoint.region,
    }


def _check_ranges(server, tuned):
    """Read around the borders of 2 and 4 GiB as clients of a hub do."""
    size = (tuned / FILE).stat().st_size
    url, headers = f"{server.url}/lab/huge/resolve/v1/{FILE}", {"Authorization": f"Bearer {server.token}"}
    assert httpx.head(url, headers=headers, timeout=120).headers["Content-Length"] == str(size)
    with (tuned / FILE).open("rb") as file:
        for begin in (2 * GIB - 5, 4 * GIB - 5, size - 10):
            answer = httpx.get(url, headers=headers | {"Range": f"bytes={begin}-{begin + 9}"}, timeout=600)
            file.seek(begin)
            assert (answer.status_code, answer.content) == (206, file.read(10))
            assert answer.headers["Content-Range"] == f"bytes {begin}-{begin + 9}/{size}"
