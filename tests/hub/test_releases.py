"""Six releases of the hub's client, each in an environment of its own, with Xet and without.

What each prints is kept in `release_errors.json`, and of pushes in `release_push_errors.json`; set
`WRITE_RELEASE_ERRORS` to write it anew.
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
NEWEST, COMING = "2.4.0", "coming"
RELEASES = ("0.30.2", "0.36.2", "1.19.0", "1.20.0", "1.33.0", NEWEST)
# `coming` is what its makers have released for trial, of the client and of Xet.
ASKED = os.environ.get("DELTAREG_TEST_HUB_RELEASES", " ".join(RELEASES)).split()
PROGRAM = Path(__file__).parent / "unchanged" / "release.py"
GOLDEN = Path(__file__).with_name("release_errors.json")
WRITTEN = Path(__file__).with_name("release_push_errors.json")
WANTED = {
    ("team/lora", "v1"): LORA,
    ("team/lora", "prod"): LORA_2,
    ("team/lora", None): LORA_2,
    ("team/lora", "prod~1"): LORA,
    ("team/lora", "prod#1"): LORA,
    ("team/full", "v1"): FULL,
    (HUB_ID, None): BASE,
    (HUB_ID, REVISION): BASE,
}


@pytest.fixture(scope="module")
def hub(shelf):
    """Put what is deleted beside what is on the shelf."""
    with Client(shelf._config(shelf.token(*SCOPES, principal="owner"))) as client:
        client.push(SAMPLES / "deltas" / "tinyllama" / "lora_qv", "team/gone", base="tinyllama")
        client.versions.delete("team/gone:v1")
    return shelf


@pytest.fixture(scope="module", params=ASKED)
def python(request, tmp_path_factory):
    """Give the interpreter of an environment with a release in it, and the release."""
    folder = tmp_path_factory.mktemp("release")
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    wanted = [f"huggingface_hub=={request.param}"]
    if request.param == COMING:
        wanted = ["--pre", "huggingface_hub", "hf_xet"]
    install = [found, "-m", "pip", "install", "-q", *wanted]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return found, request.param


@pytest.mark.parametrize("has_xet", [True, False])
def test_a_release_reads_all_and_says_what_is_missing(hub, python, has_xet, tmp_path):
    program, release = python
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": member(hub, "reader"),
        **({} if has_xet else {"HF_HUB_DISABLE_XET": "1"}),
    }
    asked = json.dumps(list(WANTED))

    ended = subprocess.run(
        [program, PROGRAM, asked], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )

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
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": token,
        **({} if has_xet else {"HF_HUB_DISABLE_XET": "1"}),
    }

    readers = (member(hub, "reader"), hub.token("read", principal="owner"))

    ended = subprocess.run(
        [program, PROGRAM.with_name("push_release.py"), tmp_path / "lora", name, *readers],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr[-3_000:]
    told = json.loads(ended.stdout.splitlines()[-1])
    (tmp_path / "lora" / "README.md").write_bytes(b"# R\n")
    with Client(hub._config(token)) as client:
        own = client.push(tmp_path / "lora", name, base="tinyllama")
    assert not own.created
    assert {f"sha256:{oid}" for oid in told["oids"]} == {own.version.digest[:47]}
    assert {*told["mains"]} == {*told["oids"]}
    assert told["unchecked"][0] == "RevisionNotFoundError"
    assert f"deltareg verify {name}:v1 --wait".replace(name, "team/r") in told["unchecked"][1]
    assert told["url"] == f"{hub.url}/{name}"
    assert told["files"] == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert told["errors"] == golden(release, told["errors"], file=WRITTEN)
    # It came whole: what is wrong with it was found by who read all of it.
    assert "unexpected_tensors" in told["errors"]["too much of it, sent apart"][1]


def sha256_by_path(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files_below(folder)
    }


def golden(release, errors, *, file=GOLDEN):
    """Give what is kept of a release; a new one is written where that is asked for.

    Of one that is still to come it is what the newest says.
    """
    kept = json.loads(file.read_text()) if file.exists() else {}
    if release == COMING:
        return kept[NEWEST]
    if os.environ.get("WRITE_RELEASE_ERRORS"):
        kept[release] = errors
        file.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return kept.get(release)
