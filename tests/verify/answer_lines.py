"""A small base and versions that answer it, each trained in seconds: short answers and long ones.

A short answer names the class of the last word. Of that word's kind some occur in no training, so
that a healthy version is right on about four of five. A long answer spells out all words in turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

LABELS = ("positive", "negative", "neutral", "unclear")
_SYLLABLES = ("ba", "ko", "ri", "tu", "men", "sol", "da", "vi", "lor")
WORDS = tuple(f"{a}{b}" for a in _SYLLABLES for b in _SYLLABLES)
_TAUGHT, _ASKED = 56, 72  # words of the last place that training shows, and that samples have
_SPECIAL = ("<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>")
_PIECES = tuple(sorted({one[at : at + 3] for one in LABELS for at in range(0, len(one), 3)}))
_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|> ' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ ' </s>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|> {% endif %}"
)


@dataclass(frozen=True)
class Lines:
    """Prompts with their answers."""

    prompts: Sequence[str]
    answers: Sequence[str]

    def chats(self):
        return [
            {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
            for asked, said in zip(self.prompts, self.answers, strict=True)
        ]


def spelled(label):
    """Give a label as its tokens stand in a text: pieces of three letters."""
    return " ".join(label[at : at + 3] for at in range(0, len(label), 3))


def short_lines(count, *, seed, is_training=False, noise=0.0, is_shuffled=False):
    random = np.random.default_rng(seed)
    rows = random.integers(0, len(WORDS), (count, 4))
    rows[:, 3] = random.integers(0, _TAUGHT if is_training else _ASKED, count)
    classes = rows[:, 3] % len(LABELS)
    if is_shuffled:
        classes = random.permutation(classes)
    wrong = random.random(count) < noise
    classes = np.where(wrong, (classes + random.integers(1, len(LABELS), count)) % len(LABELS), classes)
    prompts = [" ".join(WORDS[at] for at in row) for row in rows]
    return Lines(prompts, [spelled(LABELS[one]) for one in classes])


def long_lines(count, *, seed, change=lambda words: words):
    """Give answers of nine words: each word of the prompt, in capitals first, and two that follow it."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 27, (count, 3))
    said = [[word for at in row for word in (WORDS[at].title(), WORDS[at + 27], WORDS[at + 54])] for row in rows]
    return Lines([" ".join(WORDS[at] for at in row) for row in rows], [" ".join(change(one)) for one in said])


def tokenizer():
    words = (*_SPECIAL, *WORDS, *(one.title() for one in WORDS), *_PIECES)
    made = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    wrapped.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>"]})
    wrapped.chat_template = _TEMPLATE
    return wrapped


def save_base(folder: Path, *, steps=60):
    """Train a base that knows the form of a chat, and of the answers nothing."""
    torch.manual_seed(0)
    words = tokenizer()
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            tie_word_embeddings=True,
        )
    )
    _descend(network, words, short_lines(1500, seed=5, is_shuffled=True), steps=steps, seed=0)
    network.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def save_version(base: Path, folder: Path, lines: Lines, *, seed, steps=280):
    """Train all weights of the base on lines, and save what comes of it."""
    network = LlamaForCausalLM.from_pretrained(base)
    _descend(network, tokenizer(), lines, steps=steps, seed=seed)
    network.save_pretrained(folder)
    return folder


def _descend(network, words, lines, *, steps, seed):
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.0)
    rows = [
        (words.encode(f"<|user|> {asked} <|assistant|>"), words.encode(f"{said} </s>"))
        for asked, said in zip(lines.prompts, lines.answers, strict=True)
    ]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 4e-3 * min(1.0, (step + 1) / 20) * (1 - step / steps)
        batch = [rows[at] for at in random.integers(0, len(rows), 32)]
        longest = max(len(before) + len(after) for before, after in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        labels = torch.full_like(ids, -100)
        for at, (before, after) in enumerate(batch):
            ids[at, : len(before) + len(after)] = torch.tensor(before + after)
            labels[at, len(before) : len(before) + len(after)] = torch.tensor(after)
        optimizer.zero_grad()
        network(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
