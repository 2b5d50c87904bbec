"""OCI artifacts: the same bytes each time, in the forms of the specifications, and back again."""

import io
import json
import tarfile
from hashlib import sha256

import httpx
import jsonschema
import pytest

from deltareg.errors import Conflict, IntegrityFailure, InvalidInput, Misconfigured, NotFound, Unauthenticated
from deltareg.integrations.oci.content import Descriptor, OciBlob, encode, make_manifest
from deltareg.integrations.oci.exporting import export_version
from deltareg.integrations.oci.importing import oci_artifact
from deltareg.integrations.oci.layout import write_layout
from deltareg.integrations.oci.packing import FILE_PATH, MODEL, MODEL_CONFIG, WEIGHTS
from deltareg.integrations.oci.places import OciLayout, Repository, parse_place
from deltareg.integrations.oci.registry import RegistryClient
from tests.cli.steps import done, push
from tests.fixtures.registries import SAMPLES

LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
FILES = {path.name: path.read_bytes() for path in LORA.iterdir()}
REF = "team/lora:v1"
# What the ModelPack specification says of a config, as far as one of ours has it.
TEXT = {"type": "string"}
CONFIG_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["descriptor", "config", "modelfs"],
    "properties": {
        "descriptor": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                **dict.fromkeys(("name", "version", "revision", "description"), TEXT),
                "createdAt": {"type": "string", "format": "date-time"},
            },
        },
        "config": {
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(("architecture", "format", "precision", "paramSize"), TEXT),
        },
        "modelfs": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type", "diffIds"],
            "properties": {
                "type": {"enum": ["layers"]},
                "diffIds": {"type": "array", "minItems": 1, "items": {"type": "string"}},
            },
        },
    },
}


@pytest.fixture
def client(shared_registry):
    return shared_registry.client()


def blob(folder, digest):
    """Read a blob of a layout, which must be what its name says."""
    raw = (folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert f"sha256:{sha256(raw).hexdigest()}" == digest
    return raw


def everything(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("profile", ["modelpack", "image"])
def test_the_same_version_is_the_same_artifact_whoever_exports_it(client, shared_registry, tmp_path, profile):
    first = export_version(client, REF, str(tmp_path / "a"), profile=profile)
    other = shared_registry.client(("read",), principal="bo")
    again = export_version(other, "team/lora@prod", str(tmp_path / "b"), profile=profile)
    export_version(client, REF, str(tmp_path / "a"), profile=profile)

    assert first.digest == again.digest
    assert everything(tmp_path / "a") == everything(tmp_path / "b")


def test_a_modelpack_has_a_layer_for_each_file(client, tmp_path):
    report = export_version(client, REF, str(tmp_path / "oci"))

    index = json.loads((tmp_path / "oci" / "index.json").read_bytes())
    (named,) = [one for one in index["manifests"] if "annotations" in one]
    manifest = json.loads(blob(tmp_path / "oci", named["digest"]))
    layers = {one["annotations"][FILE_PATH]: one for one in manifest["layers"]}
    config = json.loads(blob(tmp_path / "oci", manifest["config"]["digest"]))
    assert json.loads((tmp_path / "oci" / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert named["annotations"] == {"org.opencontainers.image.ref.name": "v1"}
    assert (manifest["artifactType"], manifest["config"]["mediaType"]) == (MODEL, MODEL_CONFIG)
    assert {name: blob(tmp_path / "oci", one["digest"]) for name, one in layers.items()} == FILES
    assert layers["adapter_model.safetensors"]["mediaType"] == WEIGHTS
    assert layers["adapter_config.json"]["mediaType"].endswith("weight.config.v1.raw")
    jsonschema.validate(config, CONFIG_SCHEMA)
    assert config["modelfs"]["diffIds"] == [one["digest"] for one in manifest["layers"]]
    assert report.size_bytes == sum(map(len, FILES.values()))


def test_an_image_has_the_files_below_models_and_nothing_of_who_made_it(client, tmp_path):
    export_version(client, REF, str(tmp_path / "oci"), profile="image")

    index = json.loads((tmp_path / "oci" / "index.json").read_bytes())
    manifest = json.loads(blob(tmp_path / "oci", index["manifests"][0]["digest"]))
    config = json.loads(blob(tmp_path / "oci", manifest["config"]["digest"]))
    (layer,) = manifest["layers"]
    with tarfile.open(fileobj=io.BytesIO(blob(tmp_path / "oci", layer["digest"]))) as tar:
        entries = {entry.name: entry for entry in tar}
        files = [entry for entry in entries.values() if entry.isreg()]
        found = {entry.name: data.read() for entry in files if (data := tar.extractfile(entry))}
    assert "artifactType" not in manifest
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
    assert found == {f"models/{name}": raw for name, raw in FILES.items()}
    assert {(e.uid, e.gid, e.mtime, e.uname) for e in entries.values()} == {(0, 0, 0, "")}


def test_what_was_signed_goes_along_as_it_was_signed(shared_registry, client, tmp_path):
    verdict = next(iter(client.verdicts.list(REF)))
    assert verdict.keyid

    report = export_version(client, REF, str(tmp_path / "oci"))

    index = json.loads((tmp_path / "oci" / "index.json").read_bytes())["manifests"]
    about = [json.loads(blob(tmp_path / "oci", one["digest"])) for one in index[1:]]
    signed = [blob(tmp_path / "oci", one["layers"][0]["digest"]).decode() for one in about]
    assert report.referrers == {"application/vnd.in-toto+json": len(index) - 1}
    assert {one["subject"]["digest"] for one in about} == {report.digest}
    assert signed == list(reversed(client.verdicts.export(REF)))
    assert client.verdicts.verify(signed)[0].verdict == "pass"


@pytest.mark.parametrize("profile", ["modelpack", "image"])
def test_what_was_exported_is_imported_as_the_same_version(user, tmp_path, profile):
    push(user)
    there = done(user, "show", "me/chat:v1")

    out = done(user, "export", "me/chat:v1", "--oci", tmp_path / "oci", "--profile", profile)
    made = done(user, "import", "oci", out["place"], "me/back")

    labels = done(user, "show", "me/back:v1")["labels"]
    assert made["digest"] == there["digest"]
    assert labels["imported.digest"] == out["digest"]
    assert labels["imported.ref"] == "me/chat:v1"


def test_a_layout_keeps_its_other_versions_and_gives_no_tag_to_another_delta(user, tmp_path):
    push(user)
    push(user, "lora_v2")
    done(user, "push", LORA, "me/other", "--base", "tinyllama")
    for ref in ("me/chat:v1", "me/chat:v2"):
        done(user, "export", ref, "--oci", tmp_path / "oci")

    refused = user("export", "me/other:v1", "--oci", tmp_path / "oci")
    several = user("import", "oci", tmp_path / "oci", "me/back", "--base", "tinyllama")
    one = user("import", "oci", f"{tmp_path / 'oci'}:v2", "me/back", "--base", "tinyllama")

    assert refused.status == 5
    assert "v1" in refused.err
    assert "me/chat" in refused.err
    assert several.status == 3
    assert "it has v1, v2" in several.err
    assert one.status == 0


def test_a_folder_of_something_else_stays_as_it_is(client, tmp_path):
    (tmp_path / "thesis.txt").write_text("chapter one")

    with pytest.raises(Conflict, match="no OCI layout"):
        export_version(client, REF, str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def laid_out(folder, layers, *, kind=MODEL):
    """Write an artifact with layers of (name, bytes, type)."""
    blobs = []
    for name, raw, media in layers:
        made = OciBlob.of(raw, media)
        kept = Descriptor(media, made.descriptor.digest, len(raw), {FILE_PATH: name})
        blobs.append(OciBlob(kept, raw))
    config = OciBlob.of(encode({}), MODEL_CONFIG)
    write_layout(folder, make_manifest(kind, config, blobs, annotations={}), tag="x")
    return str(folder)


def tar_of(*entries):
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as tar:
        for name, kind, raw in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(raw), "/etc/passwd"
            tar.addfile(entry, io.BytesIO(raw))
    return body.getvalue()


MODEL_TAR = "application/vnd.cncf.model.weight.v1.tar"


@pytest.mark.parametrize(
    "layers",
    [
        [("../evil.json", b"{}", WEIGHTS)],
        [("/etc/evil.json", b"{}", WEIGHTS)],
        [("a/b/c/d/e.json", b"{}", WEIGHTS)],
        [("", b"{}", WEIGHTS)],
        [("a.json", b"{}", WEIGHTS), ("a.json", b"[]", WEIGHTS)],
        [("a.json", b"{}", f"{MODEL_TAR}+gzip")],
        [("a.json", b"{}", "application/octet-stream")],
        [("a", b"no archive, and long enough to be one" * 40, MODEL_TAR)],
        [("a", tar_of(("../../evil.json", tarfile.REGTYPE, b"{}")), MODEL_TAR)],
        [("a", tar_of(("link.json", tarfile.SYMTYPE, b"")), MODEL_TAR)],
        [("a", tar_of(("hard.json", tarfile.LNKTYPE, b"")), MODEL_TAR)],
        [("a", tar_of(("pipe.json", tarfile.FIFOTYPE, b"")), MODEL_TAR)],
        [("a", tar_of(("x.json", tarfile.REGTYPE, b"{}")) * 1 + b"", "text/plain")],
    ],
)
def test_what_is_no_plain_file_of_a_model_is_refused_and_nothing_lies_elsewhere(client, tmp_path, layers):
    place = laid_out(tmp_path / "oci", layers)

    with pytest.raises(InvalidInput), oci_artifact(client, place):
        pass

    assert [path.name for path in tmp_path.iterdir()] == ["oci"]


def test_plain_archives_are_unpacked(client, tmp_path):
    raw = tar_of(("./weights/", tarfile.DIRTYPE, b""), ("./weights/a.json", tarfile.REGTYPE, b"{}"))
    place = laid_out(tmp_path / "oci", [("a", raw, MODEL_TAR), ("b.json", b"[]", WEIGHTS)])

    with oci_artifact(client, place) as found:
        files = everything(found.folder)

    assert {str(name): raw for name, raw in files.items()} == {"weights/a.json": b"{}", "b.json": b"[]"}


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: b"x" + raw[1:], lambda raw: raw + b"x"])
def test_a_blob_that_was_changed_is_noticed(client, tmp_path, change):
    place = laid_out(tmp_path / "oci", [("a.json", b'{"a": 1}', WEIGHTS)])
    digest = sha256(b'{"a": 1}').hexdigest()
    path = tmp_path / "oci" / "blobs" / "sha256" / digest
    path.write_bytes(change(path.read_bytes()))

    with pytest.raises(IntegrityFailure), oci_artifact(client, place):
        pass


def test_what_holds_no_model_is_told_as_what_it_is(client, tmp_path):
    place = laid_out(tmp_path / "oci", [], kind="application/vnd.cncf.helm.config.v1+json")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "index.json").write_text('{"manifests": [7]}')

    with pytest.raises(InvalidInput, match=r"helm\.config"), oci_artifact(client, place):
        pass
    broken = str(tmp_path / "broken")
    with pytest.raises(InvalidInput, match="no descriptor"), oci_artifact(client, broken):
        pass
    with pytest.raises(NotFound, match="no OCI layout"), oci_artifact(client, str(tmp_path)):
        pass


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("oci://host/a/b:v1", Repository("host", "a/b", "v1")),
        ("registry.example/a:v1", Repository("registry.example", "a", "v1")),
        ("localhost:5000/a", Repository("localhost:5000", "a")),
        (f"h.io/a@sha256:{'0' * 64}", Repository("h.io", "a", "", f"sha256:{'0' * 64}")),
    ],
)
def test_a_repository_is_told_from_a_folder(text, found):
    assert parse_place(text) == found


@pytest.mark.parametrize("text", ["./a/b", "/abs/dir", "chat-oci", "models/chat:v1", "chat:v1"])
def test_a_folder_is_told_from_a_repository(text):
    assert isinstance(parse_place(text), OciLayout)


@pytest.mark.parametrize("text", ["oci://host", "oci://host/UPPER", "oci://h/a:b c", "h.io/a@sha256:0"])
def test_what_is_neither_is_refused(text):
    with pytest.raises(InvalidInput):
        parse_place(text)


def test_a_token_of_the_realm_is_asked_for_and_goes_nowhere_else(tmp_path, monkeypatch):
    """A registry with tokens, as Docker's are: a challenge, a realm, blobs that lie in a bucket."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"auths": {"r.example": {"auth": "YTpi"}}}')
    seen = []

    def answer(request):
        seen.append((request.url.host, request.url.path, request.headers.get("Authorization")))
        if request.url.host == "auth.example":
            assert request.url.params["scope"] == "repository:m/x:pull"
            return httpx.Response(200, json={"token": "t0k"})
        if request.url.host == "bucket.example":
            return httpx.Response(200, content=b"{}")
        if request.headers.get("Authorization") != "Bearer t0k":
            told = 'Bearer realm="https://auth.example/t",scope="repository:m/x:pull",service="r"'
            return httpx.Response(401, headers={"WWW-Authenticate": told})
        if request.method == "HEAD":
            return httpx.Response(200)
        return httpx.Response(307, headers={"Location": "https://bucket.example/b"})

    place = Repository("r.example", "m/x", "v1")
    kept = OciBlob.of(b"{}", WEIGHTS).descriptor
    client = RegistryClient(place, transport=httpx.MockTransport(answer))
    with client, client.blob(kept) as parts:
        assert b"".join(parts) == b"{}"

    told = {host: authorization for host, _, authorization in seen}
    assert told == {"r.example": "Bearer t0k", "auth.example": "Basic YTpi", "bucket.example": None}


def test_a_realm_in_the_clear_gets_no_password(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"auths": {"r.example": {"auth": "YTpi"}}}')

    def answer(request):
        assert request.url.host == "r.example"
        told = 'Bearer realm="http://evil.example/t",service="r"'
        return httpx.Response(401, headers={"WWW-Authenticate": told})

    place = Repository("r.example", "m/x", "v1")
    client = RegistryClient(place, transport=httpx.MockTransport(answer))
    with client, pytest.raises(Unauthenticated, match="not safe"):
        client.manifest("v1")


def test_a_login_that_a_helper_keeps_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text('{"credHelpers": {"r.example": "ecr"}}')

    with pytest.raises(Misconfigured, match="credential helper"):
        RegistryClient(Repository("r.example", "m/x", "v1"))
