"""Artifacts in a registry of Debian's, read by `oras`, which knows nothing of us."""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from deltareg.errors import Unauthenticated
from deltareg.integrations.oci.exporting import export_version
from deltareg.integrations.oci.importing import oci_artifact
from deltareg.integrations.oci.packing import MODEL
from tests.cli.steps import done, push
from tests.fixtures.registries import SAMPLES

pytestmark = pytest.mark.soak
LORA = SAMPLES / "deltas" / "tinyllama" / "lora"
NAMES = sorted(path.name for path in LORA.iterdir())
REF = "team/lora:v1"
ANA = "ana:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"  # with the password "secret"
_TOOLS = "DELTAREG_TEST_OCI_TOOLS"  # a folder with the programs, where they are not installed


def tool(name):
    found = shutil.which(name, path=f"{os.environ.get(_TOOLS, '')}:{os.environ['PATH']}")
    return found or pytest.skip(f"needs {name}: apt-get install docker-registry oras")


@pytest.fixture(scope="module")
def oras():
    program = tool("oras")

    def run(*words, cwd=None):
        ended = subprocess.run([program, *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


def serve(folder, auth=""):
    """Run the registry on a free port until the generator goes on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = folder / "registry.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: '{folder / 'data'}'}}}}\n{auth}"
    )
    program = subprocess.Popen([tool("docker-registry"), "serve", str(settings)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/v2/")
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline, "the registry did not start"
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        program.terminate()
        program.wait(10)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    yield from serve(tmp_path_factory.mktemp("oci-registry"))


@pytest.fixture
def client(shared_registry):
    return shared_registry.client()


def test_oras_pulls_the_files_that_were_pushed_here(client, registry, oras, tmp_path):
    report = export_version(client, REF, f"oci://{registry}/models/lora")

    oras("pull", "--plain-http", f"{registry}/models/lora:v1", "-o", tmp_path / "got")
    manifest = oras("manifest", "fetch", "--plain-http", f"{registry}/models/lora:v1")

    assert f"sha256:{sha256(manifest.encode()).hexdigest()}" == report.digest
    assert json.loads(manifest)["artifactType"] == MODEL
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == NAMES
    for name in NAMES:
        assert (tmp_path / "got" / name).read_bytes() == (LORA / name).read_bytes()


def test_oras_discovers_what_was_signed(client, registry, oras):
    export_version(client, REF, f"oci://{registry}/models/signed")
    export_version(client, REF, f"oci://{registry}/models/signed")

    place = f"{registry}/models/signed"
    tree = json.loads(oras("discover", "--plain-http", "--format", "json", f"{place}:v1"))

    (found,) = tree["manifests"]  # once, although it was exported twice
    assert found["artifactType"] == "application/vnd.in-toto+json"
    about = json.loads(oras("manifest", "fetch", "--plain-http", found["reference"]))
    layer = about["layers"][0]["digest"]
    body = oras("blob", "fetch", "--plain-http", "-o", "-", f"{place}@{layer}")
    assert [body] == list(client.verdicts.export(REF))
    assert client.verdicts.verify([body])[0].verdict == "pass"


def test_what_oras_attaches_stays_when_it_is_exported_again(client, registry, oras, tmp_path):
    place = f"{registry}/models/attached"
    export_version(client, REF, f"oci://{place}")
    (tmp_path / "note.txt").write_text("looked at")

    oras("attach", "--plain-http", "--artifact-type", "text/x-note", f"{place}:v1", "note.txt", cwd=tmp_path)
    export_version(client, REF, f"oci://{place}")

    tree = json.loads(oras("discover", "--plain-http", "--format", "json", f"{place}:v1"))
    assert {one["artifactType"] for one in tree["manifests"]} == {"text/x-note", "application/vnd.in-toto+json"}


def test_a_layout_is_copied_by_oras_with_what_refers_to_it(client, registry, oras, tmp_path):
    report = export_version(client, REF, str(tmp_path / "oci"))

    oras("cp", "-r", "--from-oci-layout", "--to-plain-http", f"{tmp_path / 'oci'}:v1", f"{registry}/models/copied:v1")

    place = f"{registry}/models/copied:v1"
    tree = json.loads(oras("discover", "--plain-http", "--format", "json", place))
    assert oras("resolve", "--plain-http", place).strip() == report.digest
    assert len(tree["manifests"]) == 1


def test_what_oras_pushed_as_a_model_is_imported(user, registry, oras):
    push(user)
    digest = done(user, "show", "me/chat:v1")["digest"]
    kinds = {".safetensors": "weight.v1.raw", ".json": "weight.config.v1.raw"}
    files = [f"{name}:application/vnd.cncf.model.{kinds.get(Path(name).suffix, 'doc.v1.raw')}" for name in NAMES]
    oras("push", "--plain-http", "--artifact-type", MODEL, f"{registry}/their/lora:x", *files, cwd=LORA)

    made = done(user, "import", "oci", f"oci://{registry}/their/lora:x", "me/theirs", "--base", "tinyllama")

    labels = done(user, "show", "me/theirs:v1")["labels"]
    assert made["digest"] == digest
    assert labels["imported.from"].startswith(f"oci://{registry}/their/lora@sha256:")


def test_an_image_goes_there_and_back(user, registry):
    push(user)

    out = done(user, "export", "me/chat:v1", "--oci", f"oci://{registry}/m/chat", "--profile", "image")
    made = done(user, "import", "oci", out["place"], "me/back")

    assert out["place"].endswith("/m/chat:v1-image")
    assert made["digest"] == done(user, "show", "me/chat:v1")["digest"]


def test_a_login_of_docker_is_used_and_its_absence_told(client, tmp_path, monkeypatch):
    tool("docker-registry")
    (tmp_path / "htpasswd").write_text(f"{ANA}\n")
    auth = f"auth: {{htpasswd: {{realm: r, path: '{tmp_path / 'htpasswd'}'}}}}\n"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    server = serve(tmp_path, auth)
    host = next(server)

    with pytest.raises(Unauthenticated, match="answers 401") as caught:
        export_version(client, REF, f"oci://{host}/models/lora")
    assert f"docker login {host}" in caught.value.fix
    login = base64.b64encode(b"ana:secret").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
    report = export_version(client, REF, f"oci://{host}/models/lora")
    with oci_artifact(client, f"oci://{host}/models/lora:v1") as found:
        assert sorted(path.name for path in found.folder.iterdir()) == NAMES
        assert found.digest == report.digest
    server.close()
