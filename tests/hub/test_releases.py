"""Six releases of the hub's client, each in an environment of its own, with Xet and without.

What each prints is kept in `release_errors.json`; set `WRITE_RELEASE_ERRORS` to write it anew.
"""

import hashlib
import json
import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest

from deltareg.client import Client
from tests.fixtures.registries import SAMPLES, SCOPES, files_below
from tests.hub.conftest import BASE, FULL, HUB_ID, LORA, LORA_2, REVISION, member

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(900)]
RELEASES = ("0.30.2", "0.36.2", "1.19.0", "1.20.0", "1.33.0", "2.4.0")
PROGRAM = Path(__file__).parent / "unchanged" / "release.py"
GOLDEN = Path(__file__).with_name("release_errors.json")
WANTED = {
    ("team/lora", "v1"): LORA, ("team/lora", "prod"): LORA_2, ("team/lora", None): LORA_2,
    ("team/lora", "prod~1"): LORA, ("team/lora", "prod#1"): LORA, ("team/full", "v1"): FULL,
    (HUB_ID, None): BASE, (HUB_ID, REVISION): BASE,
}  # fmt: skip


@pytest.fixture(scope="module")
def hub(shelf):
    """Put what is deleted beside what is on the shelf."""
    with Client(shelf._config(shelf.token(*SCOPES, principal="owner"))) as client:
        client.push(SAMPLES / "deltas" / "tinyllama" / "lora_qv", "team/gone", base="tinyllama")
        client.versions.delete("team/gone:v1")
    return shelf


@pytest.fixture(scope="module", params=RELEASES)
def python(request, tmp_path_factory):
    """Give the interpreter of an environment with a release in it, and the release."""
    folder = tmp_path_factory.mktemp("release")
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    install = [found, "-m", "pip", "install", "-q", f"huggingface_hub=={request.param}"]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return found, request.param


@pytest.mark.parametrize("has_xet", [True, False])
def test_a_release_reads_all_and_says_what_is_missing(hub, python, has_xet, tmp_path):
    program, release = python
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_ENDPOINT": hub.url, "HF_TOKEN": member(hub, "reader"),
        **({} if has_xet else {"HF_HUB_DISABLE_XET": "1"}),
    }  # fmt: skip
    asked = json.dumps(list(WANTED))

    ended = subprocess.run(
        [program, PROGRAM, asked], env=environ, cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr[-3_000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    expected = {f"{name} {rev}": sha256_by_path(folder) for (name, rev), folder in WANTED.items()}
    assert told["snapshots"] == expected
    assert told["local"] == sha256_by_path(LORA)
    assert (told["branches"], told["tags"]) == (["main", "prod"], ["v1", "v2"])
    assert (told["who"], told["endpoint"]) == ("reader", True)
    assert told["errors"] == golden(release, told["errors"])


@pytest.mark.parametrize("has_xet", [True, False])
def test_a_release_pushes(hub, python, has_xet, tmp_path):
    program, release = python
    token = hub.token("read", "push", principal="owner")
    name = f"team/r{release.replace('.', '-')}-{int(has_xet)}"
    shutil.copytree(LORA, tmp_path / "lora")
    config = tmp_path / "lora" / "adapter_config.json"
    config.write_text(config.read_text().replace("bases/tinyllama", HUB_ID))
    environ = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_ENDPOINT": hub.url, "HF_TOKEN": token,
        **({} if has_xet else {"HF_HUB_DISABLE_XET": "1"}),
    }  # fmt: skip

    ended = subprocess.run(
        [program, PROGRAM.with_name("push_release.py"), tmp_path / "lora", name], env=environ,
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr[-3_000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    (tmp_path / "lora" / "README.md").write_bytes(b"# R\n")
    with Client(hub._config(token)) as client:
        own = client.push(tmp_path / "lora", name, base="tinyllama")
    assert not own.created
    assert {f"sha256:{oid}" for oid in told["oids"]} == {own.version.digest[:47]}
    assert told["url"] == f"{hub.url}/{name}"
    assert told["files"] == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert "model.py is code; a delta carries none" in told["refused"]
    assert "take it out of the folder" in told["refused"]


def sha256_by_path(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_below(folder)
    }


def golden(release, errors):
    """Give what is kept of a release; a new one is written where that is asked for."""
    kept = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("WRITE_RELEASE_ERRORS"):
        kept[release] = errors
        GOLDEN.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return kept.get(release)
