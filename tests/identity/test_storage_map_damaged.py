"""A storage map that is no storage map is refused, and by no other name."""

import json

import pytest

from deltareg.errors import Refused
from deltareg.identity.storage_map import SCHEMA, StorageMap

PACK, PIECE = f"sha256:{'a' * 64}", f"blake3:{'b' * 64}"
CHUNK = [0, 8, 4, 0, 4, "0" * 16]


def written(*, packs=None, pieces=None, chunks=(CHUNK,), reference=None):
    """Write a map of one piece, with parts of it replaced."""
    document = {
        "schema": SCHEMA,
        "packs": [[PACK, 100]] if packs is None else packs,
        "pieces": {PIECE: {"reference": reference, "chunks": list(chunks)}},
    }
    if pieces is not None:
        document["pieces"] = pieces
    return json.dumps(document).encode()


def test_a_sound_map_is_read_and_written_again():
    storage = StorageMap.decode(written())

    assert StorageMap.decode(storage.encode()) == storage


@pytest.mark.parametrize(
    "raw",
    [
        written(packs=[["0" * 16, 100]]),
        written(packs=[["sha256:" + "A" * 64, 100]]),
        written(packs=[[PACK, -1]]),
        written(packs=[[PACK, 1 << 60]]),
        written(pieces={"blake3:short": {"reference": None, "chunks": [CHUNK]}}),
        written(reference="nothing"),
        written(chunks=[[1, *CHUNK[1:]]]),
        written(chunks=[[0, 97, *CHUNK[2:]]]),
        written(chunks=[[0, 8, 4, 0, 4, "x" * 16]]),
        b"[" * 50_000,
    ],
)
def test_anything_else_is_refused(raw):
    with pytest.raises(Refused):
        StorageMap.decode(raw)
