"""Unchanged programs, two variables set: what they compute is what they compute from a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.conftest import BASE, FULL, HUB_ID, LORA, LORA_2, REVISION, member

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]
PROGRAMS = Path(__file__).with_name("unchanged")
_KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "TMPDIR")


@pytest.fixture
def program(shelf, tmp_path):
    """Run a program with `HF_ENDPOINT` and `HF_TOKEN` and a home of its own; give its result."""

    def run(name, *args, token="", is_online=True):
        environ = {key: os.environ[key] for key in _KEPT if key in os.environ}
        environ |= {"HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environ |= (
            {"HF_ENDPOINT": shelf.url, "HF_TOKEN": token or member(shelf, "reader")}
            if is_online
            else {"HF_HUB_OFFLINE": "1"}
        )
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.pt"
        command = [sys.executable, PROGRAMS / f"{name}.py", *args, out]
        ended = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr[-3_000:]
        return torch.load(out)

    return run


def same(first, second):
    return first.dtype == second.dtype and torch.equal(first, second)


@pytest.mark.parametrize(("base", "revision", "folder"), [(HUB_ID, "prod", LORA_2), (str(BASE), "v1", LORA)])
def test_peft_loads_an_adapter(program, base, revision, folder):
    found = program("adapter", base, "team/lora", revision)

    assert same(found, program("adapter", BASE, folder, "main", is_online=False))


@pytest.mark.parametrize(("name", "revision", "folder"), [(HUB_ID, REVISION, BASE), ("team/full", "v1", FULL)])
def test_transformers_loads_a_model(program, name, revision, folder):
    """A fine-tune was stored as what differs from its base, and has no tokenizer of its own."""
    found = program("model", name, revision, HUB_ID)

    assert same(found, program("model", folder, "main", BASE, is_online=False))


def test_diffusers_loads_a_lora(program, shelf, tmp_path):
    from tests.verify import diffusion_loras

    made = diffusion_loras.make(diffusion_loras.SORTS["unet new"], tmp_path)
    with shelf.client() as client:
        client.bases.push(made.base, "unet")
        ref = client.push(made.delta, "team/style", base="unet").version.ref
        shelf.verified(ref)
        client.promote(ref, "prod")  # the library looks at `main` for the name of the file

    found = program("picture", "unet", "team/style", "v1")

    assert same(found, program("picture", made.base, made.delta, "-", is_online=False))


def test_sentence_transformers_loads_an_embedder(program, shelf, tmp_path):
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    folder = embedder(tmp_path / "embedder")
    with shelf.client() as client:
        client.bases.push(folder, "minilm", hub_ids=["sentence-transformers/mini"])

    found = program("sentences", "sentence-transformers/mini", "main")

    assert same(found, program("sentences", folder, "main", is_online=False))


def test_the_command_line_of_the_hub_downloads(shelf, tmp_path):
    environ = {key: os.environ[key] for key in _KEPT if key in os.environ}
    environ |= {"HOME": str(tmp_path), "HF_ENDPOINT": shelf.url}
    environ |= {"HF_TOKEN": member(shelf, "reader")}
    program = Path(sys.executable).with_name("hf")

    subprocess.run(
        [program, "download", "team/lora", "--revision", "v1", "--local-dir", tmp_path / "out"],
        env=environ,
        check=True,
        capture_output=True,
    )

    for path in LORA.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_peft_pushes_an_adapter(program, shelf, tmp_path):
    """And loads it again, as it was saved."""
    pusher = shelf.token("read", "push", principal="owner")

    oid = program("push_adapter", HUB_ID, "-", "team/pushed", tmp_path / "saved", token=pusher)

    with shelf.client() as client:
        found = client.show("team/pushed:v1")
        assert found.digest.startswith(f"sha256:{oid}")
        assert (found.kind, found.base.name) == ("lora", "tinyllama")
        client.pull("team/pushed:v1", to=tmp_path / "pulled")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        pulled = (tmp_path / "pulled" / name).read_bytes()
        assert pulled == (tmp_path / "saved" / name).read_bytes()
    logits = program("adapter", HUB_ID, "team/pushed", "v1")
    assert same(logits, program("adapter", BASE, tmp_path / "saved", "main", is_online=False))


@pytest.mark.parametrize("strategy", ["end", "every_save", "checkpoint", "all_checkpoints"])
def test_a_trainer_pushes_what_it_trained(program, shelf, tmp_path, strategy):
    pusher, name = (shelf.token("read", "push", principal="owner"), f"team/{strategy.replace('_', '-')}")

    oid = program("train", HUB_ID, name, strategy, tmp_path / "trained", token=pusher)

    with shelf.client() as client:
        newest = client.show(name)
        assert newest.digest.startswith(f"sha256:{oid}")
        client.pull(newest.ref, to=tmp_path / "pulled")
    pulled = {path.name for path in (tmp_path / "pulled").rglob("*") if path.is_file()}
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md"} <= pulled
    assert not {"training_args.bin", "optimizer.pt", "trainer_state.json"} & pulled
    weights = "adapter_model.safetensors"
    trained = (tmp_path / "trained" / weights).read_bytes()
    assert (tmp_path / "pulled" / weights).read_bytes() == trained


def embedder(folder):
    """Save a tiny embedder as the library does, with random weights."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcde"]
    plain = folder / "plain"
    plain.mkdir(parents=True)
    (plain / "vocab.txt").write_text("\n".join(words))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(plain)
    BertTokenizerFast(str(plain / "vocab.txt")).save_pretrained(plain)
    network = Transformer(str(plain))
    pooling = Pooling(network.get_word_embedding_dimension())
    SentenceTransformer(modules=[network, pooling], device="cpu").save(str(folder / "saved"))
    return folder / "saved"
