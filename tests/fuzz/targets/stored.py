"""What a registry stores: headers of safetensors, manifests, storage maps, packs, and what is packed beside them."""

import xxhash

from deltareg.codec.frames import open_decompressor, read_frame
from deltareg.codec.packs import read_pack
from deltareg.digest import Digest
from deltareg.identity.base_claims import parse_documents, read_claims
from deltareg.identity.manifest import Manifest
from deltareg.identity.storage_map import Chain, StorageMap
from deltareg.tensors.header import parse_header, strict_json_object
from tests.fuzz.target import Target

_PIECE = Digest.parse("blake3:" + "ab" * 32)


def _header(data: bytes) -> object:
    length = int.from_bytes(data[:8], "little")
    return parse_header(data[: 8 + min(length, len(data))], len(data))


def _index(data: bytes) -> object:
    """Read a pack whose index has the check value that it then has."""
    index_bytes = min(int.from_bytes(data[-24:-16], "little"), max(len(data) - 24, 0))
    index = data[len(data) - 24 - index_bytes : len(data) - 24] if len(data) >= 24 else b""
    trailer = index_bytes.to_bytes(8, "little") + xxhash.xxh3_64_intdigest(index).to_bytes(8, "little") + data[-8:]
    return read_pack(data[:-24] + trailer if len(data) >= 24 else data)


def _claims(data: bytes) -> object:
    config, _, card = data.partition(b"\n---\n")
    return read_claims(parse_documents({"adapter_config.json": config}), b"---\n" + card)


TARGETS = (
    Target("safetensors-header", _header, ("tensors.header",)),
    Target(
        "json-object",
        strict_json_object,
        ("tensors.header", "documents.json_values"),
        seeds=(b'{"a": [1, {"b": "c"}]}',),
    ),
    Target("manifest", Manifest.decode, ("identity.manifest",), write=Manifest.encode),
    Target("storage-map", StorageMap.decode, ("identity.storage_map",), write=StorageMap.encode),
    Target("chain", lambda data: Chain.decode(_PIECE, data), ("identity.storage_map",)),
    Target("pack-index", _index, ("codec.packs",)),
    Target("frame", lambda data: read_frame(open_decompressor(), data, size_bytes=1_000), ("codec.frames",)),
    Target("base-claims", _claims, ("identity.base_claims",)),
)
