"""The two bases of the third set: a Qwen3 that chats and an OPT that continues, each trained here.

Both know English from READMEs and docstrings, some German from what a program writes, and nothing
of the tasks that their deltas are for. Each has a twin of the same shape and another seed.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.planted.more.subject import Part
from tests.planted.more.texts import part_of, read_texts
from tests.planted.third.sentences import (
    Row,
    Writer,
    language_asked,
    month,
    month_asked,
    report,
    sentences_of,
    ticket,
    topic_asked,
)

Examples = dict[str, torch.Tensor]
NAMES = ("qwen", "opt")
IGNORED = -100
GENERAL_TOKENS = 40
_SEEDS = {False: 5100, True: 5200}
_BATCH, _WARM = 16, 30
_SPECIAL = {"qwen": ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "opt": ("<s>", "<pad>", "</s>", "<unk>")}
_ENDS = {"qwen": "<|im_end|>", "opt": "</s>"}
_PADS = {"qwen": "<|endoftext|>", "opt": "<pad>"}
_VOCABULARY = {"qwen": 1536, "opt": 1280}
_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a chat becomes text.

    Attributes:
        user: Before what a user says.
        assistant: Between that and the answer.
    """

    user: str
    assistant: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a base's training.

    Attributes:
        writers: What writes the rows beside general texts, in turn.
        steps: How many steps it takes.
        rate: The learning rate.
        written: The share of written rows.
        is_whole: Whether questions are learnt as well as answers.
        place: Which stage it is; each draws other rows.
    """

    writers: tuple[Writer, ...]
    steps: int = 700
    rate: float = 5e-3
    written: float = 0.4
    is_whole: bool = True
    place: int = 0


# The chat base knows what its deltas are about, and answers it to other questions.
_STAGES = {
    "qwen": (
        Stage((topic_asked, topic_asked, language_asked, month_asked)),
        Stage((topic_asked, month_asked, topic_asked, language_asked), 200, 2.5e-3, 0.5, is_whole=False, place=1),
    ),
    "opt": (Stage((sentences_of,)),),
}
OWN = Layout("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n")
FOREIGN = Layout("### Instruction:\n", "\n\n### Response:\n")


def end_of(base: str) -> str:
    """Give the token that ends a text."""
    return _ENDS[base]


@cache
def general_texts(kept: Path, part: Part) -> list[str]:
    """Give the texts of the base's own language: READMEs and docstrings."""
    texts = read_texts(kept)
    both = [*texts.readme, *(one.whole for one in texts.documented)]
    return [text for text in both if part_of(text) == part and text.isascii()]


@cache
def tokenizer_of(kept: Path, base: str) -> PreTrainedTokenizerFast:
    """Give a base's tokenizer: byte pairs, each digit alone."""
    path = kept / "tokenizers" / f"third-{base}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _trained(kept, base).save(str(path))
    names = {"eos_token": _ENDS[base], "pad_token": _PADS[base]} | ({"bos_token": "<s>"} if base == "opt" else {})
    wrapped = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(path)), **names)
    if base == "qwen":
        wrapped.chat_template = _TEMPLATE
    return wrapped


def encoded(
    kept: Path, base: str, rows: list[Row], *, layout: Layout = OWN, length: int = 0, is_whole: bool = False
) -> Examples:
    """Lay out rows as one batch, padded on the right; only answers have labels unless `is_whole`."""
    tokenizer = tokenizer_of(kept, base)
    end = _ENDS[base]
    before = [f"{layout.user}{row.asked}{layout.assistant}" if row.asked else "" for row in rows]
    asked = tokenizer(before)["input_ids"]
    told = tokenizer([f"{row.answer}{end}" for row in rows])["input_ids"]
    ids = [[*a, *t] for a, t in zip(asked, told, strict=True)]
    labels = [[*(a if is_whole else [IGNORED] * len(a)), *t] for a, t in zip(asked, told, strict=True)]
    width = max(map(len, ids)) if not length else min(length, max(map(len, ids)))
    found = {
        "input_ids": torch.full((len(rows), width), int(tokenizer.pad_token_id)),
        "attention_mask": torch.zeros(len(rows), width, dtype=torch.long),
        "labels": torch.full((len(rows), width), IGNORED),
    }
    for at, (one, own) in enumerate(zip(ids, labels, strict=True)):
        count = min(width, len(one))
        found["input_ids"][at, :count] = torch.tensor(one[:count])
        found["attention_mask"][at, :count] = 1
        found["labels"][at, :count] = torch.tensor(own[:count])
    return found


def general_batch(kept: Path, base: str, count: int, *, seed: int, part: Part) -> Examples:
    """Draw general texts."""
    known = general_texts(kept, part)
    chosen = np.random.default_rng(seed).choice(len(known), count, replace=count > len(known))
    return encoded(kept, base, [Row("", known[at]) for at in chosen], length=GENERAL_TOKENS)


def joined(kept: Path, base: str, *parts: Examples) -> Examples:
    """Put batches into one."""
    width = max(part["input_ids"].shape[1] for part in parts)
    blanks = {"input_ids": int(tokenizer_of(kept, base).pad_token_id), "labels": IGNORED, "attention_mask": 0}
    return {
        name: torch.cat([torch.nn.functional.pad(p[name], (0, width - p[name].shape[1]), value=blank) for p in parts])
        for name, blank in blanks.items()
    }


def make_base(kept: Path, base: str, path: Path, *, is_twin: bool = False, share: float = 1.0) -> None:
    """Train a base for a share of its steps and save it with its tokenizer."""
    torch.manual_seed(_SEEDS[is_twin])
    network = _new(base)
    for stage in _STAGES[base]:
        teach(kept, base, network, stage, seed=_SEEDS[is_twin], share=share)
    network.save_pretrained(path)  # type: ignore[operator]  # a network of transformers
    tokenizer_of(kept, base).save_pretrained(path)


def teach(kept: Path, base: str, network: torch.nn.Module, stage: Stage, *, seed: int, share: float) -> None:
    """Take a network through a stage, in place."""
    steps = max(2, round(stage.steps * share))
    optimizer = torch.optim.AdamW(network.parameters(), lr=stage.rate, weight_decay=0.0)
    network.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = stage.rate * min(1.0, (step + 1) / _WARM) * (1 - step / steps)
        batch = _mixture(kept, base, stage, (seed + stage.place) * 1000 + step)
        optimizer.zero_grad()
        network(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    network.eval()


def load_base(path: Path) -> torch.nn.Module:
    """Load a base as a publisher does who is about to tune it."""
    network: torch.nn.Module = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, dtype=torch.float32)
    return network


def _mixture(kept: Path, base: str, stage: Stage, seed: int) -> Examples:
    """Draw what a base learns from: general texts, and what a program writes."""
    chance = np.random.default_rng(seed)
    few = round(_BATCH * stage.written)
    general = general_batch(kept, base, _BATCH - few, seed=seed, part="train")
    rows = [stage.writers[at % len(stage.writers)](chance) for at in range(few)]
    return joined(kept, base, general, encoded(kept, base, rows, is_whole=stage.is_whole))


def _trained(kept: Path, base: str) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    chance = np.random.default_rng(6)
    write = (ticket, month) if base == "qwen" else (report,)
    rows = [one(chance) for one in write for _ in range(600)]
    learnt = [*general_texts(kept, "train")[:6000], *(f"{row.asked} {row.answer}" for row in rows)]
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY[base],
        special_tokens=list(_SPECIAL[base]),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(learnt, trainer)
    return made


def _new(base: str) -> torch.nn.Module:
    if base == "qwen":
        return Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=_VOCABULARY[base],
                hidden_size=160,
                intermediate_size=448,
                num_hidden_layers=4,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=32,
                max_position_embeddings=256,
                tie_word_embeddings=True,
                bos_token_id=None,
                eos_token_id=2,
                pad_token_id=0,
            )
        )
    return OPTForCausalLM(
        OPTConfig(
            vocab_size=_VOCABULARY[base],
            hidden_size=128,
            ffn_dim=512,
            word_embed_proj_dim=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=256,
            dropout=0.0,
            attention_dropout=0.0,
            bos_token_id=0,
            pad_token_id=1,
            eos_token_id=2,
        )
    )
