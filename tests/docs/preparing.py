"""What pages presume to be there before their first line, a function each."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from deltareg.wire import TokenCreate
from tests.conftest import REPOSITORY
from tests.docs.desks import Desk
from tests.fixtures import sglang_stub, vllm_stub
from tests.fixtures.registries import SAMPLES, serving
from tests.telling.told import receiver

_PROMPTS = "The capital of France is\nOnce upon a time\nHello\n"
_SUITE = """\
name: reviews
seed: 7
sets:
  reviews: {file: reviews.jsonl}
checks:
  - digests
  - finite
  - check: perplexity
    probes: reviews
    threshold: {threshold: 1000, greater_is_better: false}
"""


def chat(
    desk: Desk, *, versions: int = 3, promoted: int = 2, base: str = "llama-3.1-8b", line: str = "me/chat"
) -> None:
    """Lay a base, two adapters and a line with versions, some of them promoted."""
    desk.base(base, "llama")
    desk.lay_adapters("adapter", "lora")
    desk.versions(line, versions, base=base, promoted=promoted)


def adapters(desk: Desk, *names: str, base: str = "llama") -> None:
    """Lay a base and adapters that nobody has pushed yet."""
    desk.base(base, "llama")
    desk.lay_adapters(*names)


def apply(desk: Desk) -> None:
    """Lay a folder of suites and policies."""
    chat(desk, line="team/chat")
    files = {
        "policies/server.yaml": "approvals: 1\n",
        "policies/team/namespace.yaml": "approvals: 1\n",
        "policies/team/chat/prod.yaml": "protected: true\n",
        "suites/reviews.yaml": _SUITE,
        "suites/reviews.jsonl": "".join(f'{{"text": "review number {n} says so"}}\n' for n in range(30)),
    }
    for name, text in files.items():
        path = desk.folder / "registry" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (desk.folder / "registry" / "namespaces").mkdir(exist_ok=True)
    desk.terminal.environ["COMMIT"] = "4f0c9a7"
    desk.terminal.environ["DEPLOYS_URL"] = "http://127.0.0.1:9/hook"


def approvals(desk: Desk) -> None:
    """Lay the line, who promotes, who approves and who is on call."""
    chat(desk)
    desk.person("bob", "read", "promote")
    desk.person("carl", "read", "approve")
    desk.person("admin", "read", "admin", "break-glass")


def asked(desk: Desk) -> None:
    """Lay a promoted line and prompts."""
    chat(desk, versions=4)
    (desk.folder / "prompt.txt").write_text("The quick brown")
    (desk.folder / "prompts.txt").write_text(_PROMPTS)


def attach(desk: Desk) -> None:
    """Lay a line and inputs of its network."""
    chat(desk, line="team/code", base="llama")
    save_file({"input_ids": np.arange(1, 17, dtype=np.int64).reshape(2, 8)}, desk.folder / "ids.safetensors")


def bases(desk: Desk) -> None:
    """Lay two bases of one shape whose configs differ, and a folder that is neither."""
    adapters(desk, "adapter", base="llama-3.1-8b")
    desk.base("mistral-7b", sample="tinyllama_other")
    said = desk.folder / "adapter" / "adapter_config.json"
    said.write_text(json.dumps(json.loads(said.read_text()) | {"base_model_name_or_path": "llama-3.1-8b"}))
    for name, epsilon in (("llama-3.1-8b-new", 1e-5), ("llama-edited", 1e-3)):
        folder = desk.lay(name, "bases/tinyllama")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": epsilon}))
        if name != "llama-edited":
            (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
            desk.client.bases.push(folder, name)


def clusters(desk: Desk) -> None:
    """Lay a line whose newest version is on `staging`, too."""
    chat(desk, promoted=3)
    desk.client.promote("me/chat:v3", "staging", reason="to be tried")


def convert(desk: Desk) -> None:
    """Lay what mlx-lm would have written."""
    adapters(desk, "lora", base="llama-3.1-8b")
    desk.lay("tuned", "deltas/tinyllama/full")
    desk.client.folders.convert(desk.folder / "lora", desk.folder / "mlx-adapter", layout="mlx", base="llama-3.1-8b")


def data_tools(desk: Desk) -> None:
    """Lay a base, a line, and an adapter in the cache of the hub's client."""
    chat(desk, base="llama", line="team/chat")
    snapshot = Path(desk.terminal.environ["HOME"]) / ".cache/huggingface/hub/models--org--adapter/snapshots/0e9e39f"
    shutil.copytree(SAMPLES / "deltas" / "tinyllama" / "lora_v2", snapshot)


def diffusion(desk: Desk) -> None:
    """Lay a small pipeline of SDXL, a LoRA of it, and one of Flux by names of the original code."""
    from tests.verify import diffusion_loras
    from tests.verify.test_pipeline_bases import UNET, save_pipeline, trained, write

    save_pipeline(desk.folder / "sdxl")
    for name in ("my-lora", "unet-lora"):
        write(desk.folder / name, trained(unet=UNET)[1], unet=UNET)
    made = diffusion_loras.make(diffusion_loras.SORTS["flux original kohya"], desk.folder / "made")
    desk.client.bases.push(made.base, "flux-dev")
    (desk.folder / "people").mkdir()
    shutil.copyfile(next(Path(made.source).glob("*.safetensors")), desk.folder / "people" / "style.safetensors")


def events(desk: Desk) -> None:
    """Lay a line, and somebody who takes what webhooks send."""
    chat(desk, line="team/chat")
    here = desk.stack.enter_context(receiver())
    desk.terminal.addresses |= dict.fromkeys(
        ("https://hooks.example.org/ml", "https://hooks.slack.com/services/T0/B0/x"), here.url
    )


def find(desk: Desk) -> None:
    """Lay a promoted line, and a version with a card."""
    chat(desk)
    (desk.folder / "adapter" / "README.md").write_text(
        "---\nlicense: mit\nlanguage: de\n---\n# Summaries\n\nOf news.\n"
    )
    desk.client.push(desk.folder / "lora", "team/other", base="llama-3.1-8b")


def follow(desk: Desk) -> None:
    """Lay a promoted line, and servers that answer as vLLM and SGLang do."""
    chat(desk)
    for address, module, server in (
        (8000, vllm_stub, vllm_stub.VllmStub()),
        (30000, sglang_stub, sglang_stub.SglangStub()),
    ):
        server.url = desk.stack.enter_context(serving(module.make_app(server)))
        desk.terminal.addresses[f"http://127.0.0.1:{address}"] = server.url


def gate_ci(desk: Desk) -> None:
    """Lay a base, a namespace and what a pipeline trained."""
    desk.client.namespaces.create("team")
    adapters(desk, "out/adapter")
    desk.terminal.environ["COMMIT"] = "4f0c9a7"


def hugging_face(desk: Desk) -> None:
    """Lay a base as a client of the hub would have fetched it; it may ask the registry."""
    desk.lay("smollm", "bases/tinyllama")
    del desk.terminal.environ["HF_HUB_OFFLINE"]


def members(desk: Desk) -> None:
    """Lay a base and an adapter, and give the reader a token that lives as long as those of people do."""
    adapters(desk, "lora")
    scopes = ["read", "push", "promote", "admin"]
    made = TokenCreate.model_validate({"principal": "ana", "scopes": scopes, "everywhere": True})
    desk.terminal.environ["DELTAREG_TOKEN"] = desk.client.tokens.create(made).token


def merge(desk: Desk) -> None:
    """Lay three lines on one base."""
    desk.base("tinyllama", "tinyllama")
    for line, sample in (("team/chat", "lora"), ("team/code", "lora_rslora"), ("team/law", "lora_dora")):
        desk.client.push(SAMPLES / "deltas" / "tinyllama" / sample, line, base="tinyllama")


def move_to_another_base(desk: Desk) -> None:
    """Lay a line on a base, and the base's next release."""
    chat(desk)
    desk.base("llama-3.3-8b", sample="tinyllama_other")


def move_versions(desk: Desk) -> None:
    """Lay two lines, of which one has a version that is not promoted yet."""
    chat(desk, versions=2, promoted=1)
    desk.versions("me/code", 1, base="llama-3.1-8b", promoted=1)


def quantised(desk: Desk) -> None:
    """Lay a base, the same in four bits, and an adapter that was trained on that."""
    from tests import packing

    root = packing.base(desk.folder / "llama")
    for scheme in ("bnb4", "fp8"):
        packing.pack(root, desk.folder / f"llama-{scheme}", scheme)
    packing.lora(desk.folder / "adapter")
    # Of a network of random weights four bits change the likeliest token.
    desk.terminal.environ["DELTAREG_GOLDEN"] = "never"


def samples(desk: Desk) -> None:
    """Lay the samples as a checkout of the repository has them, with a base stored."""
    shutil.copytree(SAMPLES / "deltas" / "tinyllama", desk.folder / "tests/samples/deltas/tinyllama")
    desk.base("tinyllama", "tinyllama")


def suites(desk: Desk) -> None:
    """Lay a line, samples for it, and what the page's suites name."""
    chat(desk)
    shutil.copytree(REPOSITORY / "docs" / "examples", desk.folder / "docs" / "examples")
    words = ("dog", "fox", "tree", "house", "river", "bird", "stone", "road", "boat", "hill")
    texts = [f"the {a} and the {b} stand near the {c}" for a in words for b in words for c in words[:3]]
    (desk.folder / "stories.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (desk.folder / "general.txt").write_text("\n".join(texts[:40]) + "\n")
