"""Models of equal square weights that no codec makes small, so that bytes can be counted."""

import hashlib
import json

import httpx
import numpy as np
from safetensors.numpy import save_file

from deltareg.digest import Digest
from deltareg.identity.storage_map import StorageMap
from deltareg.wire.bundles import read_bundle

COUNT, WIDTH = 20, 256
TENSOR_BYTES = 4 * WIDTH * WIDTH
SOME = (2, 9, 10, 15)


def write_grid(folder, numbers=range(COUNT), *, seed, width=WIDTH):
    """Write the layers of these numbers; a layer depends on its number and the seed alone."""
    folder.mkdir(parents=True)
    tensors = {
        f"model.layers.{number:04}.mlp.up_proj.weight": np.random.default_rng([seed, number])
        .normal(0, 1, (width, width))
        .astype("<f4")
        for number in numbers
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": COUNT,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def fill(server, folder):
    """Store a base, a full fine-tune `team/grid:v1`, and a few of its layers as `:v2`."""
    client = server.client()
    client.bases.push(write_grid(folder / "base", seed=0), "grid")
    first = client.push(write_grid(folder / "all", seed=1), "team/grid", base="grid").version
    server.verified(first.ref)  # its pieces are offered once somebody else has decoded them
    client.push(write_grid(folder / "some", SOME, seed=1), "team/grid", base="grid")
    return server


class Traffic:
    """Requests of a client for packs, and the bytes that their answers had."""

    def __init__(self, client):
        self.requests: list[httpx.Request] = []
        self.blobs: list[httpx.Response] = []
        self.bytes = 0
        hooks = client._api._http.event_hooks
        hooks["request"].append(self.requests.append)
        hooks["response"].append(self._count)
        client._api._http.event_hooks = hooks

    def _count(self, response):
        if response.status_code in {200, 206} and "blobs/" in response.request.url.path:
            self.blobs.append(response)
            self.bytes += int(response.headers["Content-Length"])
        if response.status_code == 200 and response.request.url.path.endswith("/bundle"):
            head, contents = read_bundle(response.read())
            packs = [len(raw) for part, raw in zip(head.parts, contents, strict=True) if part.kind == "pack"]
            self.bytes += sum(packs)


def storage_of(client, ref):
    """Give a version's storage map."""
    line, _, number = ref.partition(":v")
    raw = client._api.send("GET", f"/deltas/{line}/versions/{number}/storage").content
    return StorageMap.decode(raw)


def assert_served_well(client, folder, ref):
    """Hold every file of a folder against the sha256 in the manifest of a version."""
    manifest = client.cache.manifest(Digest.parse(client.show(ref).digest))
    text = json.loads(manifest)
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == {f["path"]: f["digest"].partition(":")[2] for f in text["files"]}
