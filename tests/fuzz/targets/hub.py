"""What hubs and registries of containers send: commits, shards, xorbs, listings, layouts and layers."""

import io
from itertools import pairwise

from deltareg.api.hub.commit_body import read_commit
from deltareg.api.hub.large_files import announced_files, objects_of
from deltareg.api.hub.preupload import modes
from deltareg.api.json_bodies import parse_sent
from deltareg.integrations.oci.content import decode, descriptor_in, descriptors_in
from deltareg.integrations.oci.importing import _unpack as unpack_layer
from deltareg.integrations.oci.layout import LayoutReader, find_in_layout
from deltareg.refs import LineRef
from deltareg.service.hub.shards import read_shard
from deltareg.service.hub.xorbs import find_chunks, unpack
from tests.fuzz.target import SCRATCH, Target


def _commit(data: bytes) -> object:
    return read_commit(io.BytesIO(data), stage=lambda *_: None)


def _xorb(data: bytes) -> object:
    offsets = find_chunks(lambda begin, size: data[begin : begin + size], len(data))
    for begin, end in list(pairwise(offsets))[:50]:
        unpack(data[begin:end])
    return None


def _body(data: bytes) -> object:
    body = parse_sent(data)
    if isinstance(body, dict):
        modes(LineRef("team", "chat"), announced_files(body), {})
        objects_of(body)
    return None


def _descriptors(data: bytes) -> object:
    document = decode(data, what="it")
    descriptor_in(document.get("config"), what="it")
    return descriptors_in(document, "layers", what="it")


def _layout(data: bytes) -> object:
    with SCRATCH.folder() as folder:
        (folder / "index.json").write_bytes(data)
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        (blobs / "ab").write_bytes(b"x")
        found = find_in_layout(folder, "1.0")
        with LayoutReader(folder).blob(found) as parts:
            return list(parts)


def _layer(data: bytes) -> object:
    with SCRATCH.folder() as folder:
        unpack_layer(iter([data[:700], data[700:]]), folder / "out", below="model/")
        outside = [
            path for path in folder.rglob("*") if path.is_symlink() or not path.resolve().is_relative_to(folder / "out")
        ]
        assert not outside, outside
        return None


TARGETS = (
    Target("hub-commit", _commit, ("api.hub.commit_body",)),
    Target("hub-body", _body, ("api.json_bodies", "api.hub.preupload", "documents.json_values")),
    Target("xorb", _xorb, ("service.hub.xorbs",)),
    Target("shard", lambda data: read_shard(io.BytesIO(data)), ("service.hub.shards",)),
    Target("oci-manifest", _descriptors, ("integrations.oci.content",)),
    Target("oci-layout", _layout, ("integrations.oci.content",)),
    Target("oci-layer", _layer, ("integrations.oci.importing",)),
)
