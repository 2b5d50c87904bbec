"""What Xet's client sends becomes the files that it was given; nothing else becomes any."""

import hashlib
import io
import json
import random
import re
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lz4.frame
import pytest

from deltareg.errors import InvalidInput
from deltareg.service.hub.shards import MOST_TERMS, hex_of, read_shard
from deltareg.service.hub.xorbs import CHUNK_BYTES, XORB_BYTES, find_chunks, unpack
from tests.fixtures.processes import until
from tests.hub.conftest import member
from tests.hub.record_xet import FOLDER, contents

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
FILES = contents()
DIGESTS = json.loads((FOLDER / "files.json").read_text())["files"]
[XORB] = FOLDER.glob("*.xorb")
SHARD = (FOLDER / "files.shard").read_bytes()
MARK = b"\xff" * 32 + bytes(16)


def area(ask, server, token, line):
    """Give the address of somebody's area for a line, and the ticket for it."""
    answer = ask(server, f"/api/models/{line}/xet-write-token/main", token=token)
    assert answer.status_code == 200, answer.text
    told, headers = answer.json(), answer.headers
    assert told["casUrl"] == headers["X-Xet-Cas-Url"]
    assert told["accessToken"] == headers["X-Xet-Access-Token"]
    assert str(told["exp"]) == headers["X-Xet-Token-Expiration"]
    return told["casUrl"], told["accessToken"], told["exp"]


@pytest.fixture
def send(ask):
    """Send bytes to an address within an area; give the status and what was said."""

    def send(server, place, path, raw):
        within = place[0].removeprefix(server.url)
        answer = ask(server, f"{within}/{path}", token=place[1], method="POST", content=raw)
        return answer.status_code, answer.json()

    return send


def told_there(ask, server, token, line):
    """Give the names of those files that need not be sent any more, by Git LFS."""
    objects = [{"oid": DIGESTS[name], "size": len(raw)} for name, raw in FILES.items()]
    batch = {"operation": "upload", "objects": objects}
    path = f"/{line}.git/info/lfs/objects/batch"
    answer = ask(server, path, token=token, method="POST", json=batch).json()
    there = {each["oid"] for each in answer["objects"] if "actions" not in each}
    return {name for name, digest in DIGESTS.items() if digest in there}


def commit(ask, server, token, line):
    """Commit all files, as a delta's notes; there are no weights, so it stays a draft."""
    lines = [{"key": "header", "value": {"summary": "s"}}]
    lines += [
        {"key": "lfsFile", "value": {"path": f"{name}.json", "oid": DIGESTS[name], "size": len(raw), "algo": "sha256"}}
        for name, raw in FILES.items()
    ]
    body = "\n".join(map(json.dumps, lines))
    path = f"/api/models/{line}/commit/main"
    return ask(server, path, token=token, method="POST", content=body)


def test_what_was_recorded_becomes_the_files_that_it_is_of(hub, ask, send):
    token = member(hub, "trainer", "push")
    place, line = area(ask, hub, token, "trainer/files"), "trainer/files"

    xorb = send(hub, place, f"v1/xorbs/default/{XORB.stem}", XORB.read_bytes())
    shard = send(hub, place, "v1/shards", SHARD)
    again = send(hub, place, "v1/shards", SHARD)
    done = commit(ask, hub, token, line)

    assert xorb == (200, {"was_inserted": True})
    assert shard == again == (200, {"result": 1})
    assert "no version yet" in done.headers["X-HF-Warning"]
    for name, raw in FILES.items():
        assert ask(hub, f"/{line}/resolve/main/{name}.json", token=token).content == raw
    with hub.client() as admin:
        assert admin.storage.fsck().findings == []
        admin.storage.collect(dry_run=False, grace_s=0)
    assert list(hub.registry.store.keys("blobs/")) == []
    assert area(ask, hub, token, line)[0] != place[0], "a client believes the old one to be full"
    assert send(hub, place, "v1/shards", SHARD)[0] == 401


def test_the_client_itself_sends_it_once(local_hub, ask):
    hf_xet = pytest.importorskip("hf_xet", reason="needs hf-xet")
    token = member(local_hub, "trainer", "push")
    place = area(ask, local_hub, token, "trainer/own")
    url, *ticket = place

    def upload():
        hf_xet.upload_bytes(
            list(FILES.values()),
            url,
            tuple(ticket),
            lambda: tuple(ticket),
            None,
            "model",
            sha256s=list(DIGESTS.values()),
        )
        return len(list(local_hub.registry.store.keys("blobs/")))

    first = upload()
    second = upload()

    assert told_there(ask, local_hub, token, "trainer/own") == FILES.keys()
    assert first == second == len(FILES) + 1, "files, and one xorb"
    assert area(ask, local_hub, token, "trainer/own")[0] == url
    other = member(local_hub, "other", "push")
    assert area(ask, local_hub, other, "other/own")[0] != url


def shard_of(*files, mark=MARK, version=2):
    """Write a shard: of each file its sha256 and its terms (xorb, bytes, begin, end)."""
    parts = [struct.pack("<32sQQ", b"HFRepoMetaData\0", version, 0)]
    for digest, terms in files:
        parts.append(struct.pack("<32sII8x", bytes(32), 1 << 30, len(terms)))
        parts += [struct.pack("<32sIIII", swapped(x), 0, size, a, b) for x, size, a, b in terms]
        parts.append(swapped(digest) + bytes(16))
    return b"".join([*parts, mark, mark])


def swapped(digest):
    return bytes.fromhex(hex_of(bytes.fromhex(digest)))


def chunk_of(raw, *, scheme=0, size=None, packed=None):
    packed = raw if packed is None else packed
    size = len(raw) if size is None else size
    lengths = (len(packed).to_bytes(3, "little"), size.to_bytes(3, "little"))
    return b"\0" + lengths[0] + bytes([scheme]) + lengths[1] + packed


def test_what_a_shard_says_wrongly_is_refused_and_stages_nothing(local_hub, ask, send):
    token = member(local_hub, "trainer", "push")
    place, name = area(ask, local_hub, token, "trainer/wrong"), XORB.stem
    assert send(local_hub, place, f"v1/xorbs/default/{name}", XORB.read_bytes())[0] == 200
    text, other = DIGESTS["text"], "ab" * 32
    cases = {
        "not those that were announced": shard_of((other, [(name, 24_000, 0, 1)])),
        "was not sent here": shard_of((text, [(other, 24_000, 0, 1)])),
        "names chunk 8000": shard_of((text, [(name, 24_000, 8_000, 8_001)])),
        "bytes, its shard says 131072": shard_of((text, [(name, CHUNK_BYTES, 0, 1)])),
        "cannot be": shard_of((text, [(name, 9, 3, 3)])),
        "cannot be 4294967295": shard_of((text, [(name, (1 << 32) - 1, 0, 9)])),
        "of version 2": shard_of(version=3),
        "cut off": SHARD[:500],
        "is cut": shard_of((text, [(name, 24_000, 0, 1)]), mark=b""),
    }

    answers = {told: send(local_hub, place, "v1/shards", raw) for told, raw in cases.items()}

    for told, (status, said) in answers.items():
        assert (status, told in said["error"]) == (422, True), (told, said)
    assert told_there(ask, local_hub, token, "trainer/wrong") == set()
    assert len(list(local_hub.registry.store.keys("blobs/"))) == 1


def test_much_from_little_is_refused_before_it_is_put_together(local_hub, ask, send):
    """128 chunks of zeros, 16 MiB in 66 kB, named over and over."""
    token = member(local_hub, "trainer", "push")
    place, name = area(ask, local_hub, token, "trainer/zeros"), "ab" * 32
    zeros = chunk_of(b"", packed=lz4.frame.compress(bytes(CHUNK_BYTES)), scheme=1, size=CHUNK_BYTES)
    assert send(local_hub, place, f"v1/xorbs/default/{name}", zeros * 128)[0] == 200

    def named(times):
        digest = hashlib.sha256(bytes(times * 128 * CHUNK_BYTES)).hexdigest()
        return shard_of((digest, [(name, 128 * CHUNK_BYTES, 0, 128)] * times))

    once, often = (send(local_hub, place, "v1/shards", named(times)) for times in (1, 4))

    assert once[0] == 200
    assert (often[0], often[1]["code"]) == (507, "quota")
    assert "bytes of files from" in often[1]["error"]
    kept = [size for _, size in local_hub.registry.store.keys("blobs/")]
    assert sorted(kept) == [len(zeros) * 128, 128 * CHUNK_BYTES]


def test_files_of_hub_clients_count_against_quotas_before_they_come(local_hub, ask, send):
    token = member(local_hub, "trainer", "push")
    place = area(ask, local_hub, token, "trainer/full")
    admin = local_hub.client()
    admin.quotas.set("trainer", {"bytes": len(XORB.read_bytes()) - 1})

    refused = send(local_hub, place, f"v1/xorbs/default/{XORB.stem}", XORB.read_bytes())
    batch = {"operation": "upload", "objects": [{"oid": "ab" * 32, "size": 10**9}]}
    path = "/trainer/full.git/info/lfs/objects/batch"
    large = ask(local_hub, path, token=token, method="POST", json=batch)

    assert (refused[0], refused[1]["code"]) == (507, "quota_exceeded")
    assert large.status_code == 507
    assert "trainer would have 1.0 GB, and its quota is" in large.json()["error"]
    uses = {use.resource: use.used for use in admin.quotas.show("trainer").uses}
    assert (uses["bytes"], uses["drafts"]) == (0, 1)


def test_tickets_open_their_area_and_nothing_else(local_hub, ask, send):
    owner, other = (member(local_hub, who, "push") for who in ("owner", "other"))
    mine = area(ask, local_hub, owner, "owner/line")
    theirs = area(ask, local_hub, other, "other/line")
    path, raw = f"v1/xorbs/default/{XORB.stem}", XORB.read_bytes()

    assert send(local_hub, (mine[0], theirs[1]), path, raw)[0] == 401
    assert send(local_hub, (mine[0], owner), path, raw)[0] == 401
    assert send(local_hub, (mine[0], "x"), path, raw)[0] == 401
    assert ask(local_hub, f"/lfs/{mine[1]}", method="PUT", content=b"").status_code == 404
    assert ask(local_hub, "/api/models/owner/line", token=mine[1]).status_code == 401
    reader = member(local_hub, "reader")
    token_route = "/api/models/owner/line/xet-write-token/main"
    assert ask(local_hub, token_route, token=reader).status_code == 403
    assert send(local_hub, mine, path, raw)[0] == 200


def test_a_xorb_is_no_longer_than_it_says_and_than_any_may_be(local_hub, ask, send):
    token = member(local_hub, "trainer", "push")
    place = area(ask, local_hub, token, "trainer/long")
    path = f"v1/xorbs/default/{XORB.stem}"

    assert send(local_hub, place, path, bytes(XORB_BYTES + 1))[0] == 422
    assert send(local_hub, place, path, b"")[0] == 422
    assert send(local_hub, place, path, iter([b"x" * 9]))[0] == 422
    assert list(local_hub.registry.store.keys("blobs/")) == []


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (chunk_of(b"x" * 9, size=8), "9 bytes and not 8"),
        (chunk_of(b"x", scheme=3), "scheme 3"),
        (chunk_of(b"x", size=CHUNK_BYTES + 1), "at most are"),
        (chunk_of(b"", size=1), "at most are"),
        (b"\1" + chunk_of(b"x")[1:], "none of version 0"),
        (chunk_of(b"no frame", scheme=1), "no LZ4 frame"),
        (chunk_of(b"", packed=lz4.frame.compress(b"x" * 9)[:-2], scheme=1, size=9), "no whole"),
        (chunk_of(b"", packed=lz4.frame.compress(b"x" * 9) * 2, scheme=1, size=9), "more than one"),
        (chunk_of(b"", packed=lz4.frame.compress(bytes(64 << 20)), scheme=1, size=9), "."),
    ],
)
def test_a_chunk_is_what_its_header_says_or_refused(raw, told):
    with pytest.raises(InvalidInput, match=told):
        unpack(raw)


def test_a_xorb_has_so_many_chunks_and_no_more():
    many = chunk_of(b"x") * 8_193

    with pytest.raises(InvalidInput, match="more than 8192"):
        chunks_of(many)
    assert len(chunks_of(many[:-9])) == 8_193
    footed = chunk_of(b"x") + b"XETBLOB" + bytes(99)
    assert list(chunks_of(footed)) == [0, 9]


def test_a_shard_puts_together_so_much_and_no_more():
    terms = [("ab" * 32, 1, 0, 1)] * (MOST_TERMS + 1)

    with pytest.raises(InvalidInput, match="65536 parts"):
        read_shard(io.BytesIO(shard_of(("cd" * 32, terms))))
    with pytest.raises(InvalidInput, match="1000 files"):
        read_shard(io.BytesIO(shard_of(*[("cd" * 32, [])] * 1_001)))


def chunks_of(raw):
    return find_chunks(reader(raw), len(raw))


def test_who_hangs_up_in_the_middle_is_no_fault(local_hub, ask, caplog):
    caplog.set_level("INFO", "deltareg")
    token = member(local_hub, "trainer", "push")
    url, ticket, _ = area(ask, local_hub, token, "trainer/gone")
    host, _, port = local_hub.url.removeprefix("http://").partition(":")
    commit = f"{local_hub.url}/api/models/trainer/gone/commit/main"
    xorb = f"{url}/v1/xorbs/default/{XORB.stem}"
    sent = {f"{url}/v1/shards": ticket, commit: token, xorb: ticket}

    for address, secret in sent.items():
        path = address.removeprefix(local_hub.url)
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n"
        with socket.create_connection((host, int(port))) as line:
            line.sendall(head.encode() + b"Content-Length: 9000\r\n\r\n" + bytes(100))
    until(lambda: said(caplog, "answered 503") == len(sent), "all are told of")

    assert said(caplog, "Exception in ASGI") == 0
    assert list(local_hub.registry.store.keys("blobs/")) == []


def said(caplog, text):
    return sum(text in record.getMessage() for record in caplog.records)


def reader(raw):
    return lambda at, size: raw[at : at + size]


def peak_bytes():
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) << 10


def broken(chance, raw):
    """Break bytes: cut, repeat, flip, or write an extreme number."""
    raw = bytearray(raw)
    for _ in range(chance.randrange(1, 4)):
        at, size = chance.randrange(len(raw) + 1), chance.choice([1, 4, 8, 48, 900])
        match chance.randrange(5):
            case 0:
                del raw[at : at + size]
            case 1:
                raw[at:at] = raw[at : at + size]
            case 2:
                raw[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                raw[at : at + 4] = chance.choice([bytes(4), b"\xff" * 4, b"\0\0\0\x80"])
            case _:
                del raw[at:]
    return bytes(raw)


def unpack_broken(chance, chunk):
    return unpack(broken(chance, chunk))


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.soak)])
def test_broken_xorbs_and_shards_are_read_or_refused(count):
    """In little memory, whatever they say."""
    chance = random.Random(17)
    whole = XORB.read_bytes()
    offsets = chunks_of(whole)
    before, read = peak_bytes(), {"xorb": 0, "chunk": 0, "shard": 0}

    for _ in range(count):
        number = chance.randrange(len(offsets) - 1)
        chunk = whole[offsets[number] : offsets[number + 1]]
        tries: dict[str, Callable[[], object]] = {
            "xorb": lambda: chunks_of(broken(chance, whole)),
            "chunk": partial(unpack_broken, chance, chunk),
            "shard": lambda: read_shard(io.BytesIO(broken(chance, SHARD))),
        }
        for name, attempt in tries.items():
            try:
                attempt()
            except InvalidInput:
                read[name] += 1

    print(f"\n{3 * count} read, refused {read}, {(peak_bytes() - before) >> 20} MiB more")
    assert min(read.values()) > count // 10
    assert peak_bytes() - before < 64 << 20
