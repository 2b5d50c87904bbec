"""What is kept beside a registry or travels from it: backups, bundles, answers of servers, records."""

import hashlib
import json
from contextlib import suppress

import httpx
import zstandard

from deltareg.api.doctor.slow import group
from deltareg.api.observability.growth import read_samples
from deltareg.api.observability.slow_requests import read_slow_requests
from deltareg.client.http.answers import read_answer, read_problem, store_failure
from deltareg.client.mirror.bundle import BundleSource
from deltareg.service.backup.manifest import PAYLOAD_TYPE, read_catalog, read_manifest
from deltareg.service.backup.segments import cut_segments, read_segment
from deltareg.signing.envelopes import seal
from deltareg.wire import VersionInfo
from deltareg.wire.bundles import read_bundle
from deltareg_verify.messages.base_outputs import BaseOutputs
from deltareg_verify.messages.figures import Figures
from deltareg_verify.messages.report import check_in, listen
from tests.fuzz.target import SCRATCH, Target
from tests.signers import key_of

_KEY = key_of("the server")


def _manifest(data: bytes) -> object:
    return read_manifest(seal(data, _KEY, payload_type=PAYLOAD_TYPE)).name


def _rows(data: bytes) -> object:
    """Read the rows of a segment, which are damaged before they are packed."""
    frame = zstandard.ZstdCompressor(1).compress(data)
    rows = read_segment(frame, hashlib.sha256(data).hexdigest())
    with suppress(UnicodeEncodeError):  # a database holds text alone
        for segment in cut_segments(rows):
            read_segment(segment.frame, segment.digest)
    return None


def _frame(data: bytes) -> object:
    return read_segment(data, "0" * 64)


def _mirror(data: bytes) -> object:
    """Open a bundle, whose signed part follows."""
    head, _, signed = data.partition(b"\n%%%\n")
    with SCRATCH.folder() as folder:
        (folder / "bundle.json").write_bytes(head)
        source = BundleSource(folder)
        for line in source.lines():
            for version in source.versions(line):
                (folder / "signed").mkdir(exist_ok=True)
                name = version.digest.rpartition(":")[2]
                if name.isalnum() and len(name) < 100:
                    (folder / "signed" / f"{name}.json").write_bytes(signed)
                source.evidence(version)
                source.documents(version)
    return None


def _records(data: bytes) -> object:
    with SCRATCH.folder() as folder:
        (folder / "slow-requests.0.jsonl").write_bytes(data)
        for work in group(read_slow_requests(folder, since=0)).values():
            work.describe()
    return None


def _samples(data: bytes) -> object:
    with SCRATCH.folder() as folder:
        (folder / "room.0.jsonl").write_bytes(data)
        (folder / "room.jsonl").write_bytes(data)
        return list(read_samples(folder, since=0))


def _answer(data: bytes) -> object:
    request = httpx.Request("GET", "http://registry.example/api/v1/x")
    for status in (200, 404, 503):
        response = httpx.Response(status, content=data, request=request)
        if status == 200:
            try:
                read_answer(response, VersionInfo)
            except Exception as error:
                from deltareg.errors import DeltaregError

                if not isinstance(error, DeltaregError):
                    raise
        else:
            json.dumps([str(read_problem(response)), str(store_failure(response, "x"))])
    return None


def _report(data: bytes) -> object:
    for line in data.split(b"\n")[:20]:
        check_in(line)
    return listen(data)


TARGETS = (
    Target("backup-manifest", _manifest, ("service.backup.manifest",)),
    Target("backup-envelope", lambda data: read_manifest(data).name, ("service.backup.manifest",)),
    Target("backup-catalog", read_catalog, ("service.backup.manifest",)),
    Target("backup-rows", _rows, ("service.backup.segments",)),
    Target("backup-frame", _frame, ("service.backup.segments",)),
    Target("mirror-bundle", _mirror, ("client.mirror.bundle",)),
    Target("version-bundle", lambda data: len(read_bundle(data)[1]), ("wire.bundles",)),
    Target("slow-requests", _records, ("api.observability.slow_requests",)),
    Target("room-samples", _samples, ("api.observability.growth",)),
    Target("answer", _answer, ("client.http.answers",)),
    Target("child-report", _report, ("gpu_verify:messages.report",)),
    Target("figures", Figures.decode, ("gpu_verify:messages.figures",), write=Figures.encode),
    Target("base-outputs", lambda data: BaseOutputs.decode(data).probe, ("gpu_verify:messages.base_outputs",)),
)
