"""Sound input of hubs, registries of containers, backups, workers and other programs."""

import io
import json
import tarfile
import tempfile
from base64 import b64encode
from dataclasses import asdict
from pathlib import Path

import lz4.frame
import numpy as np
import zstandard

from deltareg.api.observability.growth import RoomSample
from deltareg.integrations.oci.content import OciBlob, encode, make_manifest
from deltareg.service.backup.manifest import BackupCatalog, BackupManifest, CatalogTable, sign_manifest
from deltareg.service.backup.segments import cut_segments
from deltareg_verify.messages.base_outputs import BaseOutputs
from deltareg_verify.messages.figures import ClassFigures, Figures, ProbeLoss, TokenOdds, VectorSpread
from tests.client.torch_archive import pickles
from tests.conftest import REPOSITORY
from tests.fuzz.sound_documents import small_adapter
from tests.fuzz.target import keep
from tests.signers import key_of

SAMPLES = REPOSITORY / "tests" / "samples"
GOLDEN = REPOSITORY / "tests" / "golden"
_MOST_BYTES = 16 << 10
_KEY = key_of("the server")
_HEX = "ab" * 32
_AT = 1_796_000_000_000_000


def _hub() -> None:
    raw = b"hello"
    lines = [
        {"key": "header", "value": {"summary": "Add", "description": "all", "parentCommit": "a" * 40}},
        {"key": "file", "value": {"path": "README.md", "content": b64encode(raw).decode(), "encoding": "base64"}},
        {"key": "lfsFile", "value": {"path": "adapter_model.safetensors", "algo": "sha256", "oid": _HEX, "size": 12}},
        {"key": "lfsFile", "value": {"path": "copy.safetensors", "algo": "sha256", "oid": _HEX}},
        {"key": "deletedFile", "value": {"path": "x.txt"}},
        {"key": "deletedFolder", "value": {"path": "old/"}},
    ]
    keep("hub-commit", "all", "\n".join(map(json.dumps, lines)))
    files = {
        "files": [{"path": "a.txt", "size": 3, "sample": b64encode(b"hello").decode()}],
        "objects": [{"oid": _HEX, "size": 3}],
    }
    keep("hub-body", "both", files)
    recorded = REPOSITORY / "tests" / "hub" / "xet"
    keep("shard", "recorded", (recorded / "files.shard").read_bytes()[:_MOST_BYTES])
    keep(
        "xorb", "made", b"".join(_chunk(scheme, b"abcd" * 300 + bytes([scheme])) for scheme in range(3)) + b"XETBLOB\1"
    )
    blobs = [OciBlob.of(b"{}", "application/json"), OciBlob.of(b"weights", "application/octet-stream")]
    artifact = make_manifest("application/vnd.x", blobs[0], blobs[1:], annotations={"a": "b"})
    keep("oci-manifest", "made", artifact.manifest.body)
    own = artifact.manifest.descriptor.to_json() | {"annotations": {"org.opencontainers.image.ref.name": "1.0"}}
    keep("oci-layout", "made", encode({"schemaVersion": 2, "manifests": [own]}))
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        keep("oci-layer", f"form-{form}", _layer(form))


def _chunk(scheme: int, data: bytes) -> bytes:
    grouped = b"".join(data[place::4] for place in range(4)) if scheme == 2 else data
    packed = lz4.frame.compress(grouped) if scheme else data
    return b"\0" + len(packed).to_bytes(3, "little") + bytes([scheme]) + len(data).to_bytes(3, "little") + packed


def _layer(form: int) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=form) as tar:
        for name in ("model/adapter_config.json", "model/sub/" + "long" * 20 + "/x.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = 5
            tar.addfile(entry, io.BytesIO(b"hello"))
    return held.getvalue()


def _kept() -> None:
    made = BackupManifest(
        format=1,
        taken_us=_AT,
        release="0.1.0",
        signed_by=str(_KEY.public),
        mark="0f0f0f0f-0000-4000-8000-000000000000",
        is_encrypted=False,
        catalog=_HEX,
        rows=3,
        blobs=1,
        blob_bytes=12,
        lacking=0,
        needs=_HEX,
    )
    keep("backup-manifest", "made", made.model_dump_json())
    keep("backup-envelope", "made", sign_manifest(made, _KEY))
    table = CatalogTable(
        name="versions", columns=(("id", "number"), ("name", "text")), key=("id",), rows=3, segments=(_HEX,)
    )
    catalog = BackupCatalog(
        revision="0070",
        tables=(table,),
        blobs=(f"blobs/{_HEX}/0f0f0f0f-0000-4000-8000-000000000000",),
        lacking={},
        keys=_HEX,
    )
    keep("backup-catalog", "made", catalog.model_dump_json())
    rows = [(1, "a", None, 0.5, True, b"\0\1"), (2, "é\n", -1, 1e9, False, b"")]
    (segment,) = cut_segments(rows)
    keep("backup-frame", "made", segment.frame)
    keep("backup-rows", "made", zstandard.ZstdDecompressor().decompress(segment.frame))
    _mirror()
    line = {
        "at": 1_796_000_000.0,
        "method": "PUT",
        "route": "/api/v1/uploads/{upload_id}",
        "about": "upload_id=u1",
        "by": "ada",
        "request": "r",
    }
    keep("slow-requests", "one", json.dumps({**line, "status": 200, "s": 1.5, "parts": {"store": 1.25}}) + "\n")
    keep("room-samples", "one", json.dumps(asdict(RoomSample(1_796_000_000.0, {"disk": 3}))) + "\n")
    keep(
        "answer",
        "problem",
        {
            "type": "about:blank",
            "title": "x",
            "status": 404,
            "code": "not_found",
            "detail": "d",
            "fix": "f",
            "errors": [],
        },
    )


def _mirror() -> None:
    at = {"created_at": "2026-12-01T00:00:00.000Z", "created_by": "ada", "logical_bytes": 1, "stored_bytes": 1}
    version = {
        "ref": "team/chat:v1",
        "namespace": "team",
        "name": "chat",
        "version": 1,
        "digest": f"sha256:{_HEX}",
        "kind": "lora",
        "variant": "",
    }
    version |= {
        "foldable": True,
        "base": {"name": "llama", "root": f"blake3:{_HEX}"},
        "message": "",
        "semver": None,
        "labels": {"a": "b"},
    }
    base = {
        "name": "llama",
        "root": f"blake3:{_HEX}",
        "manifest_digest": f"sha256:{_HEX}",
        "model_type": "llama",
        "is_stored": True,
        "location": None,
    }
    lines, bases = {"team/chat": [version | at | {"uploaded_bytes": 1}]}, {"llama": base | at | {"tensors": 1}}
    document = {"format": "deltareg-bundle-1", "where": "here", "lines": lines, "bases": bases}
    keep("mirror-bundle", "one", json.dumps(document) + "\n%%%\n[]")
    keep("version-bundle", "empty", b'{"versions":[],"parts":[]}\n')
    keep("answer", "version", lines["team/chat"][0])


def _worker() -> None:
    figures = Figures(
        {"prose": ProbeLoss(3.5, 7)},
        {"eos": TokenOdds(0.5, -1.0)},
        ClassFigures(2, 0.1, 0.2, 0.3),
        {"a": VectorSpread(0.1, 1.0)},
        {"b": 0.1},
        "",
    )
    keep("figures", "all", figures.encode())
    raw = BaseOutputs("probe", {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float32)}).encode()
    keep("base-outputs", "two", raw)
    check = {"name": "perplexity", "verdict": "pass", "value": 1.0, "detail": "d"}
    report = [
        {"check": check},
        {"figures": json.loads(figures.encode())},
        {"end": {"dtype": "float32", "sandbox": "s", "environment": {"a": "b"}}},
    ]
    keep("child-report", "whole", "\n".join(map(json.dumps, report)) + "\n")


def _converted() -> None:
    lora = SAMPLES / "deltas" / "tinyllama" / "lora"
    keep("folder", "lora", (lora / "adapter_config.json").read_bytes() + b"\n%%%\n" + small_adapter())
    whole = pickles.state(pickles.tensor())
    with tempfile.TemporaryDirectory() as folder:
        path = pickles.in_zip(Path(folder) / "a.bin", whole)
        keep("torch-archive", "written", path.read_bytes())
        _torch(Path(folder))
        _gguf(Path(folder))
    keep("pickle", "written", whole)


def _torch(folder: Path) -> None:
    import torch

    path = folder / "t.bin"
    torch.save({"a": torch.ones(2, 3), "b": torch.arange(4).to(torch.bfloat16)[::2]}, path)
    keep("torch-archive", "torch", path.read_bytes())
    import zipfile

    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        keep("pickle", "torch", archive.read(name))


def _gguf(folder: Path) -> None:
    import gguf

    path = folder / "a.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 16.0)
    writer.add_array("x.list", [1, 2, 3])
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.ones((2, 8), np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", np.ones((8, 2), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    keep("gguf", "two", path.read_bytes())


def write() -> None:
    """Write it."""
    for part in (_hub, _kept, _worker, _converted):
        part()
