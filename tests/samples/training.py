"""The bases and the healthy deltas of the samples, trained by torch, transformers and peft.

Text is what ships with Python: the language reference is the general domain, the source of the
standard library the domain that deltas are tuned for. Everything is seeded and small enough for
one CPU core and a minute.
"""

import inspect
import json
import pydoc_data.topics
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

VOCABULARY = 384
WINDOW = 64
_SOURCES = (
    "argparse",
    "ast",
    "asyncio.base_events",
    "configparser",
    "csv",
    "datetime",
    "difflib",
    "email.message",
    "fractions",
    "http.client",
    "inspect",
    "json.decoder",
    "logging",
    "pathlib",
    "random",
    "shutil",
    "statistics",
    "subprocess",
    "tarfile",
    "textwrap",
    "typing",
    "zipfile",
)


@dataclass(frozen=True, slots=True)
class Texts:
    """Token ids of both domains, and of what is held out of training.

    Attributes:
        tokenizer: Byte-level BPE over both domains.
        general: Training windows of the language reference, (n, 64).
        code: Training windows of library source, (n, 64).
        general_eval: Held-out windows of the language reference.
        code_eval: Held-out windows of library source.
    """

    tokenizer: PreTrainedTokenizerFast
    general: torch.Tensor
    code: torch.Tensor
    general_eval: torch.Tensor
    code_eval: torch.Tensor


def read_texts() -> Texts:
    """Read both domains and train the tokenizer on them."""
    general = "\n".join(text for _, text in sorted(pydoc_data.topics.topics.items()))
    code = "\n".join(inspect.getsource(import_module(name)) for name in _SOURCES)
    tokenizer = _train_tokenizer([general, code])
    windows = [
        torch.tensor(tokenizer(text, verbose=False)["input_ids"]).unfold(0, WINDOW, WINDOW) for text in (general, code)
    ]
    (general_eval, general_train), (code_eval, code_train) = (_split(w) for w in windows)
    return Texts(tokenizer, general_train, code_train, general_eval, code_eval)


def _split(windows: torch.Tensor, held_out: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Hold out windows evenly spread over the text; give them and the rest."""
    is_held = torch.zeros(len(windows), dtype=torch.bool)
    is_held[torch.arange(held_out) * (len(windows) // held_out)] = True
    return windows[is_held], windows[~is_held]


def _train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a LoRA sample is made.

    Attributes:
        base: The base's folder name.
        form: What peft is told.
        dtype: In which type the base is loaded.
        factors: In which type the factors are trained and saved.
    """

    base: str
    form: LoraConfig
    dtype: torch.dtype = torch.float32
    factors: torch.dtype = torch.float32


def new_llama(seed: int) -> LlamaForCausalLM:
    """Give an untrained two-layer Llama with grouped-query attention and its own head."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=40,
            intermediate_size=80,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def new_gpt2(seed: int) -> GPT2LMHeadModel:
    """Give an untrained two-layer GPT-2: tied head, biases, Conv1D weights stored transposed."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=40,
            n_layer=2,
            n_head=4,
            n_positions=WINDOW,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def descend(net: torch.nn.Module, windows: torch.Tensor, *, steps: int, rate: float) -> None:
    """Train the parameters that want gradients, with AdamW, on windows drawn by a seed."""
    net.train()
    draw = torch.Generator().manual_seed(steps)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=rate, weight_decay=0.0)
    for at in range(steps):
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (at + 1) / 20) * (1 - at / steps)
        batch = windows[torch.randint(len(windows), (16,), generator=draw)]
        optimizer.zero_grad()
        net(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    net.eval()


def loss_on(net: torch.nn.Module, windows: torch.Tensor) -> float:
    """Give the mean cross-entropy per token."""
    with torch.inference_mode():
        return round(float(net(input_ids=windows, labels=windows).loss), 4)


def load(folder: Path, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load a base from its files."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).eval()


def lora(targets: list[str], rank: int, **flags: Any) -> LoraConfig:
    """Give a LoRA configuration whose alpha is twice its rank, unless told otherwise."""
    wanted = {"lora_alpha": 2 * rank, "task_type": "CAUSAL_LM", **flags}
    return LoraConfig(r=rank, target_modules=targets, **wanted)


def make_bases(root: Path, texts: Texts) -> None:
    """Train and save every base below `root`."""
    llama = new_llama(seed=11)
    descend(llama, texts.general, steps=700, rate=5e-3)
    llama.save_pretrained(root / "tinyllama")
    llama.save_pretrained(root / "tinyllama_sharded", max_shard_size="90KB")
    other = new_llama(seed=12)
    descend(other, texts.general, steps=600, rate=5e-3)
    other.save_pretrained(root / "tinyllama_other")
    gpt2 = new_gpt2(seed=13)
    descend(gpt2, texts.general, steps=700, rate=5e-3)
    gpt2.save_pretrained(root / "tinygpt2")
    load(root / "tinyllama", dtype=torch.bfloat16).save_pretrained(root / "tinyllama_bf16")
    for folder in root.iterdir():
        texts.tokenizer.save_pretrained(folder)


def tune_lora(recipe: Recipe, out: Path, texts: Texts) -> PeftModel:
    """Train a LoRA of a base for library source and save it as peft does."""
    torch.manual_seed(21)
    base = load(Path("bases") / recipe.base, dtype=recipe.dtype)
    net = get_peft_model(base, recipe.form, autocast_adapter_dtype=False)
    for name, weight in net.named_parameters():
        if "lora_" in name:
            weight.data = weight.data.to(recipe.factors)
    descend(net, texts.code, steps=150, rate=5e-3)
    return save_adapter(net, out)


def continue_lora(base: Path, adapter: Path, out: Path, texts: Texts) -> PeftModel:
    """Train a saved LoRA further."""
    net = PeftModel.from_pretrained(load(base), adapter, is_trainable=True)
    descend(net, texts.code, steps=151, rate=4e-3)
    return save_adapter(net, out)


def save_adapter(net: PeftModel, out: Path) -> PeftModel:
    """Save an adapter without the empty card that peft puts beside it, and with sorted targets."""
    net.save_pretrained(str(out))
    (out / "README.md").unlink()
    path = out / "adapter_config.json"
    config = json.loads(path.read_text())
    if isinstance(config.get("target_modules"), list):  # peft writes a set in any order
        config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True))
    return net.eval()


def tune_full(start: Path, out: Path, texts: Texts, *, steps: int, shard: str) -> PreTrainedModel:
    """Train all weights for library source and save them as transformers does."""
    net = load(start)
    descend(net, texts.code, steps=steps, rate=2e-3)
    net.save_pretrained(out, max_shard_size=shard)
    return net


def tune_biases(base: Path, texts: Texts, *, steps: int) -> PreTrainedModel:
    """Train nothing but the biases (Ben Zaken et al. 2022, arXiv 2106.10199)."""
    net = load(base)
    for name, weight in net.named_parameters():
        weight.requires_grad = name.endswith(".bias")
    descend(net, texts.code, steps=steps, rate=7e-4)
    return net


def save_biases(net: PreTrainedModel, out: Path, *, base: PreTrainedModel | None) -> None:
    """Save the biases: as they are, or as differences from a base's."""
    biases = {name: t for name, t in net.state_dict().items() if name.endswith(".bias")}
    if base is not None:
        before = base.state_dict()
        biases = {name: t - before[name] for name, t in biases.items()}
    out.mkdir(parents=True)
    save_file(biases, out / ("model.safetensors" if base is None else "delta.safetensors"))


def tune_with_trainer(base: Path, out: Path, texts: Texts) -> PeftModel:
    """Train a LoRA with the Trainer and keep its whole checkpoint, trainer state and all."""
    torch.manual_seed(22)
    net = get_peft_model(load(base), lora(["q_proj", "v_proj"], 2))
    rows = [{"input_ids": row, "labels": row} for row in texts.code[:640]]
    settings = TrainingArguments(
        output_dir="trainer",
        num_train_epochs=1,
        per_device_train_batch_size=16,
        seed=22,
        learning_rate=5e-3,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        logging_steps=20,
    )
    trainer = Trainer(model=net, args=settings, train_dataset=rows)
    trainer.train()
    shutil.copytree(max(Path("trainer").glob("checkpoint-*")), out)
    return net.eval()
