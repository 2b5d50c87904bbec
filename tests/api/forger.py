"""A push by hand, each part of which can be forged before it is sent."""

import json
from dataclasses import dataclass, field, replace

from deltareg.client.bases.bases import resolve_base
from deltareg.client.folders.folder import open_folder
from deltareg.client.folders.hashing import hash_folder
from deltareg.client.packs.transfer import piece_sources
from deltareg.codec import PackEncoder
from deltareg.delta.delta_manifest import assess, build_delta_manifest
from deltareg.digest import sha256_of
from deltareg.identity.storage_map import StorageMap
from tests.fixtures.registries import SAMPLES


@dataclass
class Push:
    """What a push would send: manifest and storage map as JSON values, packs as bytes."""

    manifest: dict
    storage: dict
    packs: list
    target: str = "team/forged"
    more: dict = field(default_factory=dict)

    def send(self, http):
        """Send all of it and give the first answer that is an error, or the last."""
        body = {"subject": "delta", "target": self.target, "manifest": text(self.manifest), **self.more}
        answer = post(http, "/uploads", body)
        if answer.is_error or answer.json()["state"] == "complete":
            return answer
        upload = answer.json()["id"]
        for number, data in enumerate(self.packs):
            headers = {"X-Content-Digest": str(sha256_of(data))}
            answer = http.put(f"/uploads/{upload}/packs/{number}", content=data, headers=headers)
            if answer.is_error:
                return answer
        return post(http, f"/uploads/{upload}:complete", {"storage_map": text(self.storage)})

    def with_pack(self, data):
        """Add a pack and give its index in the storage map."""
        self.packs.append(data)
        self.storage["packs"].append([str(sha256_of(data)), len(data)])
        return len(self.packs) - 1

    @property
    def header_piece(self):
        """The storage entry of the header of the weight file."""
        (file,) = [f for f in self.manifest["files"] if f["is_tensors"]]
        return self.storage["pieces"][file["part"]]

    def file(self, path):
        return next(f for f in self.manifest["files"] if f["path"] == path)


def prepare(client, delta="lora", *, base="tinyllama"):
    """Make everything that a push of a sample sends, without sending it."""
    known = resolve_base(client._api, client.cache, base)
    with open_folder(SAMPLES / "deltas" / base / delta) as folder:
        assessment = assess(folder.files, folder.tensors, known.view)
        hashed = hash_folder(folder)
        manifest = build_delta_manifest(
            assessment, delta=folder.files, files=hashed.files, digests=hashed.digests, base=known.view
        )
        encoder = PackEncoder(piece_sources(folder, manifest, {}))
        packs = [bytes(pack.data) for pack in encoder.packs()]
    known.close()
    storage = StorageMap(encoder.pack_refs, encoder.pieces)
    return Push(json.loads(manifest.encode()), json.loads(storage.encode()), packs)


def copy(push):
    return replace(
        push,
        manifest=json.loads(json.dumps(push.manifest)),
        storage=json.loads(json.dumps(push.storage)),
        packs=list(push.packs),
    )


def post(http, path, body):
    """Post JSON in ASCII, so that it can carry what is no text."""
    return http.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})


def text(value):
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
