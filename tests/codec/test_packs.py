"""Packs describe themselves, and say so when they are damaged."""

import struct

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from deltareg.codec import (
    PACK_LIMIT_BYTES,
    PACK_TARGET_BYTES,
    TRAILER_BYTES,
    decode_chunk,
    index_range,
    read_index,
    read_pack,
)
from deltareg.codec.packs import PackEntry, PackWriter
from deltareg.digest import Digest
from deltareg.errors import IntegrityFailure
from deltareg.identity.storage_map import Chunk
from tests.codec.samples import encoded, noise, source, weights


def small_pack():
    writer = PackWriter()
    writer.add(b"abcd", codec=0, item_bytes=2, size_bytes=4, check=0x1122334455667788)
    writer.add(b"\0\0", codec=5, item_bytes=2, size_bytes=2 << 20, check=1)
    return writer, bytes(writer.finish()[1])


def test_the_bytes_are_those_of_the_format():
    _, pack = small_pack()

    index = struct.pack("<IIIBBHQ", 8, 4, 4, 0, 2, 0, 0x1122334455667788) + struct.pack(
        "<IIIBBHQ", 12, 2, 2 << 20, 5, 2, 0, 1
    )
    check = xxhash.xxh3_64_intdigest(index)
    assert pack == (b"\x89DRPK\r\n\x01abcd\0\0" + index + struct.pack("<QQ", 48, check) + b"DRPKEND\x01")


def test_the_index_is_what_was_added():
    writer, pack = small_pack()

    assert read_pack(pack) == tuple(writer.entries)


def test_the_index_is_found_from_the_end():
    writer, pack = small_pack()
    trailer = pack[-TRAILER_BYTES:]

    begin, end = index_range(trailer, len(pack))

    assert read_index(pack[begin:end], trailer, pack_bytes=len(pack)) == tuple(writer.entries)


def test_chunks_are_recovered_without_a_storage_map():
    data = weights(70_000)
    packs, _ = encoded([source("BF16", data)])
    (pack,) = packs.values()

    found = b"".join(decode_entry(pack, entry) for entry in read_pack(pack))

    assert found == data


def decode_entry(pack, entry):
    chunk = Chunk(Digest("sha256", "0" * 64), entry.offset, entry.length, entry.codec, entry.size_bytes, entry.check)
    payload = pack[entry.offset : entry.offset + entry.length]
    return decode_chunk(payload, chunk, item_bytes=entry.item_bytes)


@pytest.mark.parametrize("at", range(88))
def test_damage_outside_the_payloads_is_found(at):
    _, pack = small_pack()
    in_payload = 8 <= at < 14
    damaged = pack[:at] + bytes([pack[at] ^ 0x40]) + pack[at + 1 :] if at < len(pack) else pack[:-1]

    if in_payload:
        assert read_pack(damaged) == read_pack(pack)
    else:
        with pytest.raises(IntegrityFailure):
            read_pack(damaged)


@pytest.mark.parametrize("size", [0, 1, 8, 23, 24, 31, 40])
def test_a_pack_that_is_cut_is_refused(size):
    _, pack = small_pack()

    with pytest.raises(IntegrityFailure):
        read_pack(pack[:size])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(IntegrityFailure):
        read_pack(b"\x89DRPK\r\n\x01" + data + b"DRPKEND\x01")


@pytest.mark.parametrize(
    "entry",
    [
        PackEntry(9, 4, 0, 2, 4, 0),
        PackEntry(8, 0, 0, 2, 4, 0),
        PackEntry(8, 5, 0, 2, 4, 0),
        PackEntry(8, 3, 0, 2, 4, 0),
        PackEntry(8, 4, 0, 3, 6, 0),
        PackEntry(8, 4, 0, 2, 5, 0),
        PackEntry(8, 4, 0, 2, (2 << 20) + 2, 0),
    ],
)
def test_an_impossible_entry_is_refused(entry):
    index = struct.pack("<IIIBBHQ", entry.offset, entry.length, entry.size_bytes, entry.codec, entry.item_bytes, 0, 0)
    trailer = struct.pack("<QQ8s", 24, xxhash.xxh3_64_intdigest(index), b"DRPKEND\x01")

    with pytest.raises(IntegrityFailure):
        read_pack(b"\x89DRPK\r\n\x01" + b"abcd" + index + trailer)


@pytest.mark.parametrize("index_bytes", [1 << 63, 25, 1 << 20])
def test_an_index_length_that_cannot_be_is_refused(index_bytes):
    trailer = struct.pack("<QQ8s", index_bytes, 0, b"DRPKEND\x01")

    with pytest.raises(IntegrityFailure):
        index_range(trailer, 1000)


def test_a_pack_over_the_limit_is_refused():
    trailer = struct.pack("<QQ8s", 24, 0, b"DRPKEND\x01")

    with pytest.raises(IntegrityFailure):
        index_range(trailer, PACK_LIMIT_BYTES + 1)


def test_packs_fill_up_to_the_target():
    sources = [source("U8", noise(700_000, seed)) for seed in range(30)]

    packs, _ = encoded(sources)

    sizes = [len(pack) for pack in packs.values()]
    assert len(sizes) == 2
    assert PACK_TARGET_BYTES - 701_000 < sizes[0] <= PACK_TARGET_BYTES
