"""The server takes nothing on trust: what a push claims must follow from what it brought."""

import json
import random
from typing import Any

import pytest
import zstandard

from deltareg.digest import sha256_of
from deltareg.errors import IntegrityFailure
from tests.api.forger import copy, prepare
from tests.fixtures.registries import SAMPLES, SCOPES

OTHER = f"blake3:{'7' * 64}"


@pytest.fixture(scope="module")
def honest(shared_registry):
    """Prepare a push of another version than the registry has."""
    return prepare(shared_registry.client(), "lora_qv")


@pytest.fixture(scope="module")
def refused(shared_registry):
    """Send a forged push, and see that it was refused and that nothing of it stays."""
    client = shared_registry.client()
    http = shared_registry.http(client.config.token)

    def send(push, *codes):
        store = shared_registry.registry.store
        before = {key for key, _ in store.keys("blobs/")}
        answer = push.send(http)
        assert answer.status_code in {409, 422}, answer.text
        assert answer.json()["code"] in codes, answer.text
        assert not [line for line in client.lines.list("team").items if line.ref == "team/forged"]
        client.storage.collect(dry_run=False, grace_s=0)
        assert {key for key, _ in store.keys("blobs/")} == before
        return answer

    return send


def test_an_honest_push_is_taken(local_registry):
    client = local_registry.line()
    push = prepare(client, "lora_qv")

    answer = push.send(local_registry.http(client.config.token))

    assert answer.status_code == 200
    assert answer.json()["version"]["ref"] == "team/forged:v1"
    assert client.storage.fsck(read_data=True).findings == []


def kind(m):
    m["kind"] = "bitfit"


def variant(m):
    m["variant"] = "dora"


def foldable(m):
    m["foldable"] = False


def rank(m):
    m["config"]["r"] = 8


def true_for_one(m):
    m["config"]["bias"] = None


def zero_for_false(m):
    m["config"]["use_dora"] = 0


def more_config(m):
    m["config"]["auto_mapping"] = {"parent_library": "os"}


def fewer_tensors(m):
    tensor = m["tensors"].pop()
    m["files"][1]["size_bytes"] -= size_of(tensor)


def more_tensors(m):
    tensor = dict(m["tensors"][-1], name=m["tensors"][-1]["name"] + "z")
    m["tensors"].append(tensor)
    m["files"][1]["size_bytes"] += size_of(tensor)


def renamed(m):
    m["tensors"][-1]["name"] += "z"


def other_target(m):
    m["tensors"][0]["target"] = "lm_head"


def other_role(m):
    m["tensors"][0]["role"] = "bias"


def other_shape(m):
    m["tensors"][0]["shape"].reverse()


def other_dtype(m):
    m["tensors"][0]["dtype"] = "I32"


def other_source(m):
    m["source"]["version"] = "99"


def longer_file(m):
    m["files"][1]["size_bytes"] += 1


def other_file_digest(m):
    m["files"][0]["digest"] = f"sha256:{'7' * 64}"


def document_as_tensors(m):
    m["files"][0]["is_tensors"] = True


def tensors_as_document(m):
    m["files"][1]["is_tensors"] = False


def unknown_parent(m):
    m["parents"] = [f"sha256:{'7' * 64}"]


def unknown_base(m):
    m["base"] = OTHER


def no_base(m):
    m["base"] = None


def a_base(m):
    m["kind"] = "base"


def size_of(tensor):
    size = {"F32": 4}[tensor["dtype"]]
    for dim in tensor["shape"]:
        size *= dim
    return size


MANIFESTS = [
    (kind, "kind_mismatch"),
    (variant, "kind_mismatch"),
    (foldable, "kind_mismatch"),
    (rank, "kind_mismatch"),
    (true_for_one, "kind_mismatch"),
    (zero_for_false, "kind_mismatch"),
    (more_config, "kind_mismatch"),
    (fewer_tensors, "header"),
    (more_tensors, "trailing_bytes"),
    (renamed, "header"),
    (other_target, "kind_mismatch"),
    (other_role, "kind_mismatch"),
    (other_shape, "header"),
    (other_dtype, "header"),
    (other_source, "kind_mismatch"),
    (longer_file, "header"),
    (other_file_digest, "digest"),
    (document_as_tensors, "not_safetensors"),
    (tensors_as_document, "not_safetensors"),
    (unknown_parent, "bad_config"),
    (unknown_base, "base_mismatch"),
    (no_base, "invalid_input"),
    (a_base, "invalid_input"),
]


@pytest.mark.parametrize(("forge", "code"), MANIFESTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_forged_manifest(honest, refused, forge, code):
    push = copy(honest)

    forge(push.manifest)

    refused(push, code, "header")


@pytest.mark.parametrize(
    "path",
    [
        "../x.json",
        "/etc/passwd",
        "a/../x.json",
        "C:\\x",
        "a\\b",
        ".hidden",
        "CON.json",
        "a/b/c/d/e/f.json",
        "ADAPTER_CONFIG.JSON",
        "x.json\x00",
        "x.json.",
        "",
        "\u202ex.json",
        "a//b.json",
    ],
)
def test_a_path_that_leads_elsewhere(honest, refused, path):
    push = copy(honest)
    file = dict(push.manifest["files"][0], path=path)

    push.manifest["files"] = sorted([*push.manifest["files"], file], key=lambda f: f["path"])

    refused(push, "invalid_input", "header")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("modeling.py", "code_file"),
        ("deep/run.sh", "code_file"),
        ("lib.so", "code_file"),
        ("notes.ipynb", "code_file"),
        ("weights.bin", "not_safetensors"),
        ("old.pt", "not_safetensors"),
        ("all.zip", "not_safetensors"),
        ("model.onnx", "foreign_file"),
        ("page.html", "foreign_file"),
        ("Makefile", "foreign_file"),
    ],
)
def test_a_file_that_the_client_would_have_left_out(honest, refused, path, code):
    push = copy(honest)
    file = dict(push.manifest["files"][0], path=path)

    push.manifest["files"] = sorted([*push.manifest["files"], file], key=lambda f: f["path"])

    refused(push, code)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{}",
        "[]",
        "null",
        "x",
        '{"schema":"deltareg.manifest/2"}',
        '{"a":1,"a":2}',
        "[" * 9000,
        '{"schema":"\\ud800"}',
        '{"a":' * 50 + "1" + "}" * 50,
    ],
)
def test_a_manifest_that_is_none(honest, refused, raw):
    push = copy(honest)

    push.manifest = raw

    refused(push, "header", "duplicate_key", "invalid_input")


def no_piece(push):
    push.storage["pieces"].popitem()


def outside(push):
    push.header_piece["chunks"][0][1] += 1 << 30


def before_the_start(push):
    push.header_piece["chunks"][0][1] = -1


def at_another_place(push):
    push.header_piece["chunks"][0][1] += 1


def longer_chunk(push):
    push.header_piece["chunks"][0][4] += 1


def shorter_tensor(push):
    piece = next(p for p in push.storage["pieces"].values() if p is not push.header_piece)
    piece["chunks"][0][4] -= 4


def no_chunks(push):
    push.header_piece["chunks"] = []


def header_from_the_base(push):
    push.header_piece["reference"] = OTHER


def tensor_from_elsewhere(push):
    digest, piece = next((d, p) for d, p in push.storage["pieces"].items() if p is not push.header_piece)
    piece.update(reference=digest, chunks=[])


def unknown_codec(push):
    push.header_piece["chunks"][0][3] = 99


def reference_codec(push):
    push.header_piece["chunks"][0][3] = 5


def other_check(push):
    push.header_piece["chunks"][0][5] = "0" * 16


def no_such_pack(push):
    push.header_piece["chunks"][0][0] = 7


def other_pack_size(push):
    push.storage["packs"][0][1] += 1


def extra_piece(push):
    push.storage["pieces"][OTHER] = push.header_piece


def other_header(push):
    """A header of the same length that says something else, under the digest of the right one."""
    raw = b" " * push.file("adapter_model.safetensors")["part_bytes"]
    number = push.with_pack(raw)
    push.header_piece["chunks"] = [[number, 0, len(raw), 0, len(raw), xxh3(raw)]]


def bomb(push):
    """A few bytes that unpack to a quarter of a gigabyte, where a header of a few KB is due."""
    size = push.file("adapter_model.safetensors")["part_bytes"]
    raw = zstandard.ZstdCompressor().compress(bytes(256 << 20))
    number = push.with_pack(raw)
    push.header_piece["chunks"] = [[number, 0, min(len(raw), size), 1, size, "0" * 16]]


def large_header(push):
    """A header that would be a gigabyte, by the manifest's own word."""
    file = push.file("adapter_model.safetensors")
    grown = (1 << 30) - file["part_bytes"]
    file["part_bytes"] += grown
    file["size_bytes"] += grown
    push.header_piece["chunks"] = [[0, 8, 8, 0, 1 << 20, "0" * 16]] * 1024


def fractions(push):
    push.header_piece["chunks"][0][1] = 8.0


def truths(push):
    push.header_piece["chunks"][0][1] = True


def xxh3(raw):
    import xxhash

    return f"{xxhash.xxh3_64_intdigest(raw):016x}"


MAPS = [
    no_piece,
    outside,
    before_the_start,
    at_another_place,
    longer_chunk,
    shorter_tensor,
    no_chunks,
    header_from_the_base,
    tensor_from_elsewhere,
    unknown_codec,
    reference_codec,
    other_check,
    no_such_pack,
    other_pack_size,
    extra_piece,
    other_header,
    bomb,
    large_header,
    fractions,
    truths,
]


@pytest.mark.parametrize("forge", MAPS, ids=lambda forge: forge.__name__)
def test_a_forged_storage_map(honest, refused, forge):
    push = copy(honest)

    forge(push)

    refused(push, "header", "digest", "limits")


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{}",
        "[]",
        "x",
        '{"schema":"deltareg.storage/1","packs":[],"pieces":{}}',
        '{"schema":"deltareg.storage/1","packs":[["x",1]],"pieces":{}}',
        "[" * 9000,
    ],
)
def test_a_storage_map_that_is_none(honest, refused, raw):
    push = copy(honest)

    push.storage = raw

    refused(push, "header", "invalid_input")


def test_a_pack_of_another_namespace_cannot_be_used(local_registry):
    client = local_registry.line()
    other = prepare(client)
    other.target = "other/lora"
    http = local_registry.http(client.config.token)
    assert other.send(http).status_code == 200
    eve = local_registry.http(local_registry.token(*SCOPES, principal="eve"))
    push = copy(other)
    push.target, push.packs = "eves/lora", []

    answer = push.send(eve)

    assert (answer.status_code, answer.json()["code"]) == (409, "upload_closed")
    assert not client.lines.list("eves").items


def test_an_upload_is_its_makers(shared_registry, honest):
    mine = shared_registry.http(shared_registry.token(*SCOPES))
    eve = shared_registry.http(shared_registry.token(*SCOPES, principal="eve"))
    body = {"subject": "delta", "target": "team/forged", "manifest": json.dumps(honest.manifest)}
    upload = mine.post("/uploads", json=body).json()["id"]
    data = honest.packs[0]

    answers = [
        eve.get(f"/uploads/{upload}"),
        eve.put(f"/uploads/{upload}/packs/0", content=data, headers={"X-Content-Digest": str(sha256_of(data))}),
        eve.post(f"/uploads/{upload}:complete", json={"storage_map": "{}"}),
        eve.post(f"/uploads/{upload}:complete-base", json={"storage_map": "{}"}),
        eve.post(f"/uploads/{upload}:register-base"),
        eve.delete(f"/uploads/{upload}"),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert mine.get(f"/uploads/{upload}").json()["state"] == "open"
    for path in (":complete-base", ":register-base"):
        answer = mine.post(f"/uploads/{upload}{path}", json={"storage_map": "{}"})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_a_closed_upload_takes_nothing(shared_registry, honest):
    http = shared_registry.http(shared_registry.token(*SCOPES))
    push = copy(honest)
    no_piece(push)
    body = {"subject": "delta", "target": "team/forged", "manifest": push.manifest}
    assert push.send(http).status_code == 422
    push.manifest = honest.manifest

    body["manifest"] = json.dumps(push.manifest)
    upload = http.post("/uploads", json=body).json()["id"]
    assert http.delete(f"/uploads/{upload}").status_code == 204
    data = push.packs[0]
    headers = {"X-Content-Digest": str(sha256_of(data))}
    answers = [
        http.put(f"/uploads/{upload}/packs/0", content=data, headers=headers),
        http.post(f"/uploads/{upload}:complete", json={"storage_map": "{}"}),
    ]

    assert http.get(f"/uploads/{upload}").json()["state"] == "aborted"
    assert {answer.status_code for answer in answers} <= {409, 422}


@pytest.mark.parametrize("config", ["", "x", "[]", "{", "{}", '{"a":1}', '{"a":1,"a":2}', None, 7, "\ud800"])
def test_a_base_with_a_config_that_is_none(shared_registry, config):
    http = shared_registry.http(shared_registry.token(*SCOPES))
    manifest: dict[str, Any] = {
        "schema": "deltareg.manifest/1",
        "kind": "base",
        "variant": "",
        "foldable": False,
        "base": None,
        "config": {} if config is None else {"config_json": config, "model_type": ""},
        "parents": [],
        "source": {"library": "", "version": ""},
        "files": [
            {
                "path": "m.safetensors",
                "size_bytes": 14,
                "digest": f"sha256:{'7' * 64}",
                "part": OTHER,
                "part_bytes": 10,
                "is_tensors": True,
            }
        ],
        "tensors": [
            {
                "file": "m.safetensors",
                "name": "a",
                "role": "weight",
                "target": "",
                "dtype": "F32",
                "shape": [1],
                "digest": OTHER,
            }
        ],
    }
    if config == "{}":
        manifest["tensors"], manifest["files"] = [], []
    if config == '{"a":1}':
        manifest["tensors"][0]["name"] = "\ud800"
    body = {"subject": "base", "target": "odd", "manifest": json.dumps(manifest)}

    answer = http.post("/uploads", json=body)
    if not answer.is_error:
        answer = http.post(f"/uploads/{answer.json()['id']}:register-base")

    assert answer.status_code == 422, answer.text
    assert http.get("/bases/odd").status_code == 404


ODD: list[object] = [None, True, -1, 0, 1 << 63, "", "x", "\0", "\ud800", [], {}, [[]], 1.5, OTHER, "../x"]


@pytest.mark.parametrize("count", [50, pytest.param(1_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("part", ["manifest", "storage"])
def test_mutations(shared_registry, honest, part, count):
    """Change one value anywhere: the push is refused or means the same, and the server stands."""
    chance = random.Random(part)
    http = shared_registry.http(shared_registry.token(*SCOPES, principal="mutant"))

    for number in range(count):
        push = copy(honest)
        push.target = f"mutants/m{number}"
        path, value = mutate(getattr(push, part), chance)
        answer = push.send(http)
        assert answer.status_code in {200, 409, 422}, (path, value, answer.text)
        if answer.status_code == 200:
            version = answer.json()["version"]
            assert (version["kind"], version["logical_bytes"]) == ("lora", logical(honest))


def logical(push):
    return sum(file["size_bytes"] for file in push.manifest["files"])


def mutate(value, chance):
    path = []
    while True:
        items = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        key, inner = chance.choice(items)
        path.append(key)
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.9:
            value = inner
            continue
        if chance.random() < 0.2:
            del value[key]
            return path, "removed"
        value[key] = chance.choice(ODD)
        return path, value[key]


def test_bytes_that_lie_show_when_they_are_read(local_registry, tmp_path):
    """Tensor data is not read by a push; the worker and every pull hold it against its digest."""
    client = local_registry.line()
    push = prepare(client, "lora_qv")
    swap_two_tensors(push)
    assert push.send(local_registry.http(client.config.token)).status_code == 200

    with pytest.raises(IntegrityFailure):
        client.pull("team/forged:v1", tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_bytes_that_lie_are_not_offered_to_others_once_it_is_known(local_registry, tmp_path):
    client = local_registry.line()
    push = prepare(client, "lora_qv")
    swap_two_tensors(push)
    push.send(local_registry.http(client.config.token))

    local_registry.verified("team/forged", verdict="fail", fail="digests")
    honest = client.push(SAMPLES / "deltas" / "tinyllama" / "lora_qv", "team/qv", base="tinyllama")

    assert honest.uploaded_bytes > 0
    client.pull("team/qv:v1", tmp_path / "out")


def swap_two_tensors(push):
    """Say of two tensors of one shape that each is where the other is."""
    one, two = [t["digest"] for t in push.manifest["tensors"] if t["shape"] == [2, 40]][:2]
    pieces = push.storage["pieces"]
    pieces[one], pieces[two] = pieces[two], pieces[one]
