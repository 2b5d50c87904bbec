"""Packs that were written once are read for ever, and are still written in the same way."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import zstandard

from deltareg.codec import decode_piece, read_pack
from deltareg.codec.codecs import thread_codecs
from deltareg.codec.packs import PackWriter
from deltareg.digest import Digest, sha256_of
from deltareg.identity.storage_map import Chain
from tests.golden.make import CASES, FOLDER

NAMES = sorted(CASES)
ZSTD = ".".join(map(str, zstandard.ZSTD_VERSION))


def golden(name):
    """Read a pack and what was written down beside it."""
    path = FOLDER / f"{name}.pack"
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text())


def stored_pieces(described):
    """Read the stored pieces, in the order of the case's tensors."""
    return [
        Chain.decode(Digest.parse(item["digest"]), json.dumps(item["stored"]).encode()).piece
        for item in described["pieces"]
    ]


def test_every_golden_file_belongs_to_a_case():
    files = {path.name for path in FOLDER.iterdir()}

    assert files == {f"{name}.{suffix}" for name in CASES for suffix in ("pack", "json")}


@pytest.mark.parametrize("name", NAMES)
def test_it_decodes(name):
    pack, described = golden(name)

    for tensor, piece in zip(CASES[name], stored_pieces(described), strict=True):
        source = tensor.source()
        found = b"".join(
            decode_piece(
                piece,
                source.piece,
                fetch=lambda chunk: pack[chunk.offset : chunk.offset + chunk.length],
                read_reference=source.read_reference,
            )
        )

        assert found == tensor.data


@pytest.mark.parametrize("name", NAMES)
def test_its_frame_is_sound(name):
    pack, described = golden(name)

    assert str(sha256_of(pack)) == described["pack"]
    entries = {e.offset: e for e in read_pack(pack)}
    for chunk in (chunk for piece in stored_pieces(described) for chunk in piece.chunks):
        entry = entries[chunk.offset]
        assert (entry.length, entry.codec, entry.size_bytes, entry.check) == (
            chunk.length,
            chunk.codec,
            chunk.size_bytes,
            chunk.check,
        )


@pytest.mark.parametrize("name", NAMES)
def test_each_chunk_is_encoded_to_the_same_bytes(name):
    skip_unless_same_zstd(name)
    pack, described = golden(name)

    for tensor, piece in zip(CASES[name], stored_pieces(described), strict=True):
        source = tensor.source()
        begin = 0
        for chunk in piece.chunks:
            end = begin + chunk.size_bytes
            payload = thread_codecs()[chunk.codec].encode(
                source.read(begin, end),
                source.reference_bytes(begin, end),
                item_bytes=next(e.item_bytes for e in read_pack(pack) if e.offset == chunk.offset),
            )

            assert payload == pack[chunk.offset : chunk.offset + chunk.length]
            begin = end


@pytest.mark.parametrize("name", NAMES)
def test_the_same_payloads_make_the_same_pack(name):
    """Which codec a chunk takes is the writer's choice and may change; the frame does not."""
    pack, _ = golden(name)
    writer = PackWriter()

    for entry in read_pack(pack):
        payload = pack[entry.offset : entry.offset + entry.length]
        writer.add(
            payload, codec=entry.codec, item_bytes=entry.item_bytes, size_bytes=entry.size_bytes, check=entry.check
        )

    assert bytes(writer.finish()[1]) == pack


def skip_unless_same_zstd(name):
    """Another zstd may write other bytes that decode to the same."""
    made_with = golden(name)[1]["zstd"]
    if made_with != ZSTD:
        pytest.skip(f"needs zstd {made_with}, with which it was made; this is {ZSTD}")
    if golden(name)[1].get("pcodec", version("pcodec")) != version("pcodec"):
        pytest.skip(f"needs pcodec {golden(name)[1]['pcodec']}, with which it was made")


def test_every_codec_has_a_golden_chunk():
    used = {chunk.codec for name in NAMES for piece in stored_pieces(golden(name)[1]) for chunk in piece.chunks}

    assert used == set(thread_codecs())


def test_the_format_page_knows_every_codec():
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text()

    for codec in thread_codecs().values():
        uses = "yes" if codec.uses_reference else "no"
        assert f"| {codec.id} | {codec.name} | {uses} |" in page
