"""Sound input that the product writes: headers, manifests, documents, and what is signed."""

import json
import tempfile
from base64 import b64decode, b64encode
from pathlib import Path

import numpy as np
import zstandard
from safetensors.numpy import save

from deltareg.digest import Digest
from deltareg.identity.manifest import Manifest, ManifestFile, ManifestTensor, Piece, Source
from deltareg.signing.age_keys import load_age
from deltareg.signing.envelopes import seal
from deltareg.signing.statement import Statement, encode_statement
from deltareg.suites.base_probes import draw
from deltareg.suites.lm_task import read_task
from deltareg.trail.checkpoint import Checkpoint
from deltareg.trail.excerpt import FORM as EXCERPT
from deltareg.trail.leaves import encode_leaf
from deltareg.trail.log_copy import kept_line
from deltareg.trail.merkle import Frontier, leaf_hash
from tests import signed_deltas
from tests.codec.fuzz_corpus import containers
from tests.conftest import REPOSITORY
from tests.fuzz.target import keep
from tests.signers import key_of

SAMPLES = REPOSITORY / "tests" / "samples"
GOLDEN = REPOSITORY / "tests" / "golden"
_MOST_BYTES = 16 << 10
_KEY = key_of("the server")
_HEX = "ab" * 32
_AT = 1_796_000_000_000_000


def small_adapter() -> bytes:
    ones = np.ones((2, 4), np.float32)
    names = [f"base_model.model.model.layers.0.self_attn.q_proj.lora_{letter}.weight" for letter in "AB"]
    return save({names[0]: ones, names[1]: np.ascontiguousarray(ones.T)}, {"format": "pt"})


def _stored() -> None:
    keep("safetensors-header", "two", small_adapter())
    keep("safetensors-header", "scalar", save({"x": np.array(1, np.int8)}))
    for path in sorted((GOLDEN / "v1").rglob("*"))[:200]:
        raw = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".json" and len(raw) < 8_000 and b'"packs"' in raw[:4_000]:
            keep("storage-map", path.stem, raw)
    for container in containers()[:40:6]:
        (pack,) = list(container.packs.values())[:1]
        if len(pack) < 6_000:
            name = container.name.replace(" ", "-")
            keep("pack-index", name, bytes(pack))
            keep("storage-map", name, container.storage.encode())
            piece = next(iter(container.storage.pieces.values()))
            if piece.reference is None:
                keep("chain", name, container.storage.chain(piece.digest).encode())
    keep("frame", "plain", zstandard.ZstdCompressor(3).compress(b"abcd" * 250))
    digest, name, header = (
        Digest("blake3", _HEX),
        "base_model.model.q.lora_A.weight",
        Piece(Digest("blake3", "cd" * 32), "U8", (96,), 96),
    )
    tensors = (ManifestTensor("adapter_model.safetensors", name, "lora_A", "q", "F32", (2, 4), digest),)
    files = (ManifestFile("adapter_model.safetensors", 128, Digest("sha256", _HEX), header, is_tensors=True),)
    parents = (Digest("sha256", "ef" * 32),)
    made = Manifest(
        "lora",
        "rslora",
        True,
        digest,
        {"r": 2, "targets": ["q"], "deep": {"a": True}},
        tensors,
        files,
        parents,
        Source("peft", "0.21"),
    )
    keep("manifest", "lora", made.encode())
    config = {"base_model_name_or_path": "org/model", "revision": "main", "peft_type": "LORA"}
    keep("base-claims", "peft", json.dumps(config).encode() + b"\n---\nbase_model: org/model\ntags: [a]\n---\n# T\n")


def _documents() -> None:
    card = "---\nlicense: apache-2.0\nlanguage: [en, de]\ntags:\n- lora\nbase_model: org/model\ndatasets: [a/b]\n"
    card += "model-index:\n- name: x\n  results:\n  - task: {type: text-generation}\n    dataset: {name: d, type: d}\n"
    card += "    metrics: [{type: acc, value: 0.5}]\n---\n# Chat\n\nIt talks.\n"
    keep("card", "whole", card)
    keep("card", "plain", "# Chat\n\nIt talks.\n")
    keep("evaluation", "lm-eval", (SAMPLES / "evaluations" / "lm_eval.json").read_bytes()[:_MOST_BYTES])
    keep("evaluation", "own", {"metrics": {"acc": 0.5, "loss": 1}})
    for name in ("smoke", "fast", "static", "golden"):
        raw = (REPOSITORY / "registry" / "deltareg" / "suites" / f"{name}.yaml").read_bytes()
        keep("suite", name, raw)
        keep("suite-file", name, raw)
    page = (REPOSITORY / "docs" / "howto" / "policies.md").read_text()
    for number, block in enumerate(page.split("```yaml\n")[1:]):
        keep(
            "policy",
            f"of-the-docs-{number}",
            block.split("```")[0].replace("sha256:…", f"sha256:{_HEX}").replace("3f2a…", _HEX).replace("9c1e…", _HEX),
        )
    keep("floor", "some", "approvals: 1\nsuites: [{suite: deep, max_age: 30d}]\n")
    forms = json.loads((REPOSITORY / "registry" / "deltareg" / "suites" / "catalogue.json").read_bytes())
    keep("catalogue", "some", dict(list(forms.items())[:9]))
    _task()
    keep("probe-lines", "texts", "".join(json.dumps({"text": f"one {n}"}) + "\n" for n in range(5)))
    keep(
        "probe-lines", "answers", "".join(json.dumps({"prompt": f"one {n}", "answer": str(n)}) + "\n" for n in range(5))
    )
    keep("probe-tensors", "ids", save({"input_ids": np.arange(24, dtype=np.int64).reshape(4, 6)}))
    for path in sorted((GOLDEN / "outputs").glob("*.json")):
        if path.stat().st_size <= _MOST_BYTES:
            keep("golden", path.stem, path.read_bytes())
    keep("base-probes", "drawn", draw("org/model", {"model_type": "llama"}).encode()[:_MOST_BYTES])
    blocks = (REPOSITORY / "docs" / "howto" / "apply.md").read_text().split("```yaml\n")
    access = "\n%%%\n".join(block.split("```")[0].strip("\n") for block in blocks[1:3])
    keep("access-files", "of-the-docs", access)
    keep(
        "client-config",
        "profiles",
        'server = "https://a.example"\nretries = 3\n[profile.work]\nserver = "https://b.example"\n',
    )
    block = (
        (REPOSITORY / "docs" / "howto" / "sign-in.md")
        .read_text()
        .split("```toml\n")[1]
        .split("```")[0]
        .replace("client_secret_file", "#")
    )
    keep("providers", "of-the-docs", block)
    lock = 'form = "deltareg.lock/1"\nregistry = "https://a.example"\n\n[[base]]\nname = "llama"\nroot = "blake3:{0}"\n'
    lock += '\n[[delta]]\nfolder = "chat"\n'
    lock += 'asked = "team/chat@prod"\nref = "team/chat:v3"\ndigest = "sha256:{0}"\nkind = "lora"\nbase = "llama"\n'
    keep("lock-file", "one", lock.format(_HEX))
    alias = {
        "served": "chat",
        "version": 3,
        "digest": f"sha256:{_HEX}",
        "revision": 4,
        "path": "/x",
        "base": "unchecked",
    }
    keep("aliases", "one", {"schema_version": 1, "channels": {"team/chat@prod": alias}})
    keep("trusted-keys", "one", {"form": "deltareg.trusted-keys/1", "server": "here", "keys": [_key_info()]})
    keep("bisection", "one", {"form": "deltareg.bisection/1", "marks": [{"version": 3, "mark": "good"}], "proposed": 2})
    keep("oci-login", "one", {"auths": {"registry.example": {"auth": b64encode(b"ana:x").decode()}}})
    keep(
        "run-notes",
        "one",
        {"line": "team/chat", "began_from": "team/chat:2", "pushed": {"3": "team/chat:3"}, "pushing": [4, {"a": "b"}]},
    )
    keep("general-texts", "one", [{"text": f"a b c {n}", "group": "en"} for n in range(40)])


def _task() -> None:
    fields = {
        "task": "even",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "even.jsonl"}},
        "test_split": "test",
    }
    fields |= {
        "output_type": "multiple_choice",
        "doc_to_text": "Is {{number}} even?",
        "doc_to_choice": ["no", "yes"],
        "doc_to_target": "label",
    }
    raw = json.dumps(fields)
    read_task(raw.encode(), "even.yaml")
    keep(
        "lm-task",
        "even",
        raw + "\n---rows---\n" + "".join(json.dumps({"number": n, "label": n % 2}) + "\n" for n in range(9)),
    )


def _key_info() -> dict[str, object]:
    info = {
        "keyid": _KEY.public.keyid,
        "role": "server",
        "name": "here",
        "key": str(_KEY.public),
        "host": "",
        "state": "live",
    }
    return info | {"enrolled_at": "2026-12-01T00:00:00.000Z", "enrolled_by": "ada"}


def _signed() -> None:
    attested = signed_deltas.attestation("builder", {"adapter": _HEX})
    keep("envelope", "attestation", attested)
    keep("envelope", "own", seal(b'{"a": 1}', _KEY, payload_type="application/vnd.in-toto+json"))
    keep("attested", "statement", b64decode(json.loads(attested)["payload"]))
    with tempfile.TemporaryDirectory() as folder:
        raw = signed_deltas.bundle(Path(folder), "ana", {"adapter_config.json": _HEX, "sub/README.md": _HEX})
        _, certificate, root = signed_deltas.certificate_files(Path(folder), "release", "authority")
        keep("authorities", "two", certificate.read_bytes() + root.read_bytes())
        keep("beside", "certificate", certificate.read_bytes())
    keep("bundle", "model-signing", raw)
    fields = json.loads(raw)
    keep("signed-files", "model-signing", b64decode(fields["dsseEnvelope"]["payload"]))
    keep("envelope", "model-signing", json.dumps(fields["dsseEnvelope"]))
    keep(
        "statement",
        "one",
        encode_statement(Statement("team/chat:3", _HEX, "https://deltareg.dev/x/v1", {"a": [1, {"b": None}]})),
    )
    keep(
        "assertion",
        "github",
        '{"alg":"RS256","kid":"k","typ":"JWT"}\n{"iss":"https://i.example","aud":"deltareg","sub":"x","exp":1796000000}\nsig',
    )
    made = load_age().x25519.Identity.generate()
    identity, recipient = str(made), str(made.to_public())
    keep("age-identities", "one", f"# created: 2026\n{identity}\n")
    keep("age-recipients", "one", recipient)


def _trail() -> None:
    head = Checkpoint("here/log", 7, b"\5" * 32)
    keep("note", "seven", head.sign(_KEY))
    keep("checkpoint", "seven", head.sign(_KEY))
    keep("checkpoint", "text", head.text())
    keep("log-head", "line", kept_line(head.sign(_KEY), [b"\1" * 32]))
    leaves, frontier, rows = [], Frontier(), []
    for number in range(1, 6):
        leaf = {
            "v": 1,
            "id": number,
            "created_at": "2026-12-01T00:00:00.000000Z",
            "actor": "ada",
            "action": "run.queue",
            "subject": "lab/x",
        }
        leaf |= {"before": None, "after": {"n": number}, "request_id": f"r{number}"}
        digest = leaf_hash(encode_leaf(leaf))
        frontier.add(digest)
        leaves.append(digest)
        rows.append({"position": number - 1, "row": number, "hash": digest.hex(), "sealed_by": 1, "leaf": leaf})
    whole = Checkpoint("here/log", 5, frontier.root())
    keep("log-copy", "lines", kept_line(whole.sign(_KEY), leaves))
    keep("log-copy", "note", whole.sign(_KEY))
    first = {"form": "deltareg.audit-log/1", "origin": "here/log"}
    end = {"end": True, "size": 5}
    checkpoint = {"checkpoint": whole.sign(_KEY), "size": 5}
    other = [{"node": {"level": 1, "number": 0, "hash": _HEX}}, {"outside": rows[0]["leaf"], "is_waiting": True}]
    other.append({"state": "lab/x@prod", "says": {"revision": 1}})
    keep("log", "five", "\n".join(map(json.dumps, [first, *rows, checkpoint, *other, end])))
    proof = {"position": 0, "leaf": rows[0]["leaf"], "hashes": [_HEX], "statement": ""}
    lines = [
        {"form": EXCERPT, "origin": "here/log"},
        {"checkpoint": whole.sign(_KEY), "rotations": []},
        proof,
        {"end": True, "rows": 1},
    ]
    keep("excerpt", "one", "\n".join(map(json.dumps, lines)))
    kept = {
        "form": "deltareg.verified-log/1",
        "note": whole.sign(_KEY),
        "peaks": [peak.hex() for peak in frontier.peaks],
        "rows": [[1, 5]],
    }
    keep(
        "verified-log",
        "five",
        {
            **kept,
            "said": {"lab/x@prod": {"revision": 1}},
            "newest_at": 1,
            "statements": 0,
            "from_before": 0,
            "whole_at": 1,
        },
    )


def write() -> None:
    """Write it."""
    for part in (_stored, _documents, _signed, _trail):
        part()
