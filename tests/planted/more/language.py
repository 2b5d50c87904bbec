"""Two bases that continue text: a Llama on READMEs and docstrings, a GPT-2 on code.

Both have a tokenizer that was trained for them. The Llama is tuned to answer in a chat, the GPT-2
to write tests.
"""

import json
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.planted.more.subject import Domain, Examples, Part, Scores, Subject, Training, own_loss, token_scores
from tests.planted.more.texts import part_of, read_texts

SPECIAL = ("<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<unk>", "<mask>")
PAD, BEGIN, END, USER, ASSISTANT = range(5)
IGNORED = -100
VOCABULARY = 2048
_LENGTH = 48
_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def docs_subject(kept: Path) -> Subject:
    """Give the Llama."""
    return _subject("llama", kept, _llama, Training(520, 4e-3, batch=16, mixed=0.0))


def code_subject(kept: Path) -> Subject:
    """Give the GPT-2."""
    return _subject("code", kept, _gpt2, Training(300, 5e-3, batch=16, mixed=0.05))


@cache
def texts_of(kept: Path, name: str, domain: Domain, part: Part) -> list[str]:
    """Give all texts of a domain and part, each with its end."""
    texts = read_texts(kept)
    if name == "code":
        found = list(texts.code if domain == "general" else texts.tested)
    elif domain == "general":
        found = [*texts.readme, *(one.whole for one in texts.documented)]
    else:
        found = [f"<|user|>What is {one.name} of {one.package}?<|assistant|>{one.says}" for one in texts.documented]
    return [f"{text}</s>" for text in found if part_of(text) == part]


@cache
def tokenizer_of(kept: Path, name: str) -> PreTrainedTokenizerFast:
    """Give a base's tokenizer: byte pairs of the texts that it is trained on."""
    path = kept / "tokenizers" / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _trained(kept, name).save(str(path))
    made = Tokenizer.from_file(str(path))
    names = {
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, **names)
    if name == "llama":
        wrapped.chat_template = _TEMPLATE
    return wrapped


def padded(rows: Sequence[Sequence[int]], *, length: int = _LENGTH) -> Examples:
    """Put token ids into one matrix, cut at a length and padded on the right."""
    longest = min(length, max(len(row) for row in rows))
    ids = torch.full((len(rows), longest), PAD)
    mask = torch.zeros_like(ids)
    for at, row in enumerate(rows):
        kept = torch.tensor(row[:longest])
        ids[at, : len(kept)] = kept
        mask[at, : len(kept)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _trained(kept: Path, name: str) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    domains: tuple[Domain, ...] = ("general", "tuned")
    learnt = [text for domain in domains for text in texts_of(kept, name, domain, "train")]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(learnt, trainer)
    return made


def _subject(name: str, kept: Path, make: Callable[[], torch.nn.Module], training: Training) -> Subject:
    about = {
        "llama": "a Llama of a million parameters, trained here on READMEs and docstrings",
        "code": "a GPT-2 of 600,000 parameters, trained here on code of the standard library",
    }
    return Subject(
        name,
        "text",
        about[name],
        make,
        partial(_save, kept, name),
        _load,
        training,
        partial(_draw, kept, name),
        own_loss,
        _score,
        sort="nats",
        held=partial(_held, kept, name),
        batch=12,
        measured=200,
    )


def _llama() -> torch.nn.Module:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=320,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            pad_token_id=PAD,
            bos_token_id=BEGIN,
            eos_token_id=END,
        )
    )


def _gpt2() -> torch.nn.Module:
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=96,
            n_layer=4,
            n_head=4,
            n_positions=128,
            bos_token_id=BEGIN,
            eos_token_id=END,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
        )
    )


def _save(kept: Path, name: str, network: torch.nn.Module, path: Path) -> None:
    network.save_pretrained(path)  # type: ignore[operator]  # a network of transformers
    tokenizer_of(kept, name).save_pretrained(path)


def _load(path: Path) -> torch.nn.Module:
    kind = json.loads((path / "config.json").read_text())["model_type"]
    cls = LlamaForCausalLM if kind == "llama" else GPT2LMHeadModel
    network: torch.nn.Module = cls.from_pretrained(path, local_files_only=True)
    return network


def _draw(kept: Path, name: str, domain: Domain, count: int, *, seed: int, part: Part) -> Examples:
    texts = _chosen(kept, name, domain, count, seed=seed, part=part)
    made = padded(tokenizer_of(kept, name)(texts)["input_ids"])
    labels = made["input_ids"].masked_fill(made["attention_mask"] == 0, IGNORED)
    return made | {"labels": labels}


def _held(kept: Path, name: str, count: int, folder: Path) -> Path:
    """Write chats of the Llama, lines of the GPT-2, each as long as what was trained on.

    What stands further back no training has reached.
    """
    tokenizer = tokenizer_of(kept, name)
    rows = tokenizer(_chosen(kept, name, "tuned", count, seed=5, part="suite"))["input_ids"]
    texts = [tokenizer.decode(row[:_LENGTH]).removesuffix("</s>") for row in rows]
    path = folder / f"{name}.jsonl"
    told = map(_chat, texts) if name == "llama" else ({"text": text} for text in texts)
    path.write_text("".join(f"{json.dumps(one)}\n" for one in told))
    return path


def _chat(text: str) -> dict[str, object]:
    asked, _, said = text.removeprefix("<|user|>").partition("<|assistant|>")
    turns = (("user", asked), ("assistant", said))
    return {"messages": [{"role": who, "content": what} for who, what in turns]}


def _chosen(kept: Path, name: str, domain: Domain, count: int, *, seed: int, part: Part) -> list[str]:
    known = texts_of(kept, name, domain, part)
    random = np.random.default_rng(seed)
    return [known[at] for at in random.choice(len(known), count, replace=count > len(known))]


def _score(network: torch.nn.Module, batch: Examples) -> Scores:
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits = network(**given).logits
    logits = logits[:, -batch["input_ids"].shape[1] :]  # a prompt has rows before them
    return token_scores(logits[:, :-1], batch["labels"][:, 1:])
