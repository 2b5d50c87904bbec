"""What is deleted, corrupt, revoked, a lie or lost is refused in the hub's words."""

import re
from contextlib import suppress

import httpx
import pytest
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import RevisionNotFoundError

from tests.hub.conftest import BASE, FULL
from tests.proving import prove_all, prover_of, push_lie, zeros_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
WEIGHTS = "/team/lora/resolve/v1/adapter_model.safetensors"


@pytest.fixture
def owner(local_hub):
    return local_hub.line("lora", "lora_v2")


@pytest.fixture
def token(local_hub):
    return local_hub.token("read", principal="reader")


def test_a_deleted_version_is_refused_even_to_who_has_it(local_hub, owner, token, tmp_path):
    place = {"endpoint": local_hub.url, "token": token, "cache_dir": tmp_path}
    snapshot_download("team/lora", revision="v1", **place)
    commit = owner.show("team/lora:v1").digest.removeprefix("sha256:")
    owner.versions.delete("team/lora:v1")

    for revision in ("v1", commit[:12], "prod~1"):
        with pytest.raises(RevisionNotFoundError, match="deltareg restore team/lora:v1"):
            snapshot_download("team/lora", revision=revision, **place)


def test_of_a_lie_nothing_comes_whole_and_once_found_out_nothing_at_all(local_hub, owner, token, ask, tmp_path):
    lie = zeros_of(FULL, tmp_path / "lie")
    push_lie(owner, FULL, lie, "team/full", base="tinyllama")
    path = "/team/full/resolve/v1/model-00003-of-00004.safetensors"
    size = (FULL / "model-00003-of-00004.safetensors").stat().st_size
    part = ask(local_hub, path, token=token, headers={"Range": f"bytes={size - 9}-"})

    assert came_of(local_hub, path, token) < size
    assert part.status_code == 502
    assert part.json()["code"] == "digest"

    prove_all(prover_of(local_hub))
    with pytest.raises(RevisionNotFoundError, match="team/full:v1 is corrupt"):
        HfApi(endpoint=local_hub.url, token=token).model_info("team/full", revision="v1")


def came_of(server, path, token):
    """Count the bytes that come of a file until the connection ends, one way or the other."""
    came, headers = 0, {"Authorization": f"Bearer {token}"}
    with suppress(httpx.RemoteProtocolError), httpx.stream("GET", server.url + path, headers=headers) as answer:
        for chunk in answer.iter_bytes():
            came += len(chunk)
    return came


def test_a_revoked_version_comes_with_a_warning(local_hub, owner, token, ask):
    owner.versions.revoke("team/lora:v1", reason="trained on what\nwas not ours")

    told = ask(local_hub, "/api/models/team/lora/revision/v1", token=token)
    file = ask(local_hub, WEIGHTS, token=token, method="HEAD")

    for answer in (told, file):
        assert answer.status_code == 200
        topic, _, text = answer.headers["X-HF-Warning"].partition("; ")
        assert re.fullmatch("deltareg [0-9a-f]{12}", topic)
        assert text.startswith("team/lora:v1 is revoked by maker at ")
        assert ": trained on what was not ours; the newest that passed is v2" in text


def test_what_the_store_has_lost_is_the_stores_fault(local_hub, owner, token, ask):
    for key, _ in list(local_hub.registry.store.keys("blobs/")):
        local_hub.registry.store.delete(key)

    answer = ask(local_hub, WEIGHTS, token=token)

    assert (answer.status_code, answer.json()["code"]) == (502, "blob_missing")
    assert "push the same folder again" in answer.json()["error"]


def test_a_fine_tune_whose_base_is_not_here_says_what_is_missing(local_hub, token, ask):
    client = local_hub.client()
    client.bases.register(BASE, "tinyllama")
    client.push(FULL, "team/full", base="tinyllama")

    answer = ask(local_hub, "/team/full/resolve/v1/model-00003-of-00004.safetensors", token=token)
    config = ask(local_hub, "/team/full/resolve/v1/config.json", token=token)
    base = ask(local_hub, "/tinyllama/resolve/main/config.json", token=token)

    assert (answer.status_code, answer.headers["X-Error-Code"]) == (404, "RevisionNotFound")
    assert "deltareg base push PATH tinyllama" in answer.json()["error"]
    assert config.content == (FULL / "config.json").read_bytes()
    assert base.status_code == 404
    assert "X-Error-Code" not in base.headers, "its files are in the reader's cache, if anywhere"
