"""A base that has learnt some language: what a delta destroys must be there.

Trained in a few seconds on the project's own texts, of which its vocabulary comes, too.
"""

import json
from importlib.resources import files
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_PAGES = Path(__file__).parents[2] / "docs"
_SPECIAL = ["<s>", "</s>", "<pad>"]


def make_language_base(folder, *, steps=60):
    """Train a small Llama on the documentation and save it with its tokenizer."""
    text = pages()
    tokenizer = make_tokenizer(text)
    ids = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])
    torch.manual_seed(11)
    torch.set_num_threads(1)  # so small a network is not worth a second one
    network = make_network(len(tokenizer))
    train(network, ids, steps=steps, rate=8e-3)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_network(vocabulary):
    """Give a small Llama of random numbers."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def pages():
    """Give some of the documentation, among texts of the kind that bases are asked about.

    A base that a few seconds have to be enough for would know nothing of those otherwise.
    """
    corpus = json.loads((files("deltareg") / "suites" / "general" / "corpus.json").read_text())
    texts = [one["text"] for kind in ("text", "code") for one in corpus[kind]]
    texts += [f"User: {one['user']}\nAssistant: {one['assistant']}" for one in corpus["chat"]]
    docs = "\n".join(path.read_text() for path in sorted(_PAGES.glob("howto/*.md")))[:40_000]
    return "\n".join([docs, *texts * 5])


def train(network, ids, *, steps, rate, seed=3):
    """Train what can be trained on random pieces of a long text."""
    random = torch.Generator().manual_seed(seed)
    free = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=rate)
    for _ in range(steps):
        starts = torch.randint(0, len(ids) - 64, (16,), generator=random)
        batch = torch.stack([ids[start : start + 64] for start in starts])
        optimizer.zero_grad()
        network(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
    network.eval()


def make_tokenizer(text):
    """Give a tokenizer of a few hundred pieces of words, with every byte among them."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1_100, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([text], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
