"""Tiny networks of many kinds with a LoRA on each, to be judged beside the libraries' own answers.

one = judged.embedder(folder)
case = one.case(cache_dir, samples)
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
transformers = pytest.importorskip("transformers", reason="needs transformers")
peft = pytest.importorskip("peft", reason="needs peft")
from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402

from deltareg.suites.suite import read_suite  # noqa: E402
from deltareg_verify.judging.checks import all_checks  # noqa: E402
from tests import small_networks  # noqa: E402
from tests.verify.bench import Bench  # noqa: E402

_NAMES = "one two three red blue green cat dog runs sits near far the old new sea hill is not and"
WORDS = ["<pad>", "<s>", "</s>", "<unk>", *_NAMES.split(), *"abcdefghijkl"]
SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "initializer_range": 0.3,
}
ENDED = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


@dataclass
class Judged:
    """A base and a delta on it, as a folder each, and the library's own network of both."""

    base: Path
    delta: Path
    network: Any
    tokenizer: Any

    def case(self, cache_dir, samples, *, promoted=None, convention=""):
        """Make a case whose probe sets are all these samples."""
        bench = Bench(self.delta, self.base, cache_dir, convention=convention)
        other = None if promoted is None else Bench(promoted, self.base, cache_dir)
        return bench.case(
            samples=lambda _: samples,
            promoted=None if other is None else lambda mine: mine.beside(other.account.effects),
        )


def check(case, name, settings="", *, file="a.jsonl"):
    """Run one check on a case; the least number of samples is one."""
    text = (
        f"name: made\nsets: {{rows: {{file: {file}}}}}\n"
        f"checks: [{{check: {name}, probes: rows{', ' + settings if settings else ''}}}]\n"
    )
    suite = read_suite(text.encode())
    case.suite = replace(case.suite, sets=suite.sets, checks=suite.checks)
    return all_checks()[name].run(case, suite.checks[0])


def tokenizer(*, ends=True):
    """Give a tokenizer of whole words, which puts an end after each text if asked."""
    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if ends:
        made.post_processor = processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 2)]
        )
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names)


def make(folder, plain, targets, *, headed=None, task=None, words=None, seed=0, std=0.3):
    """Save a base and a LoRA on it, every trained number drawn at random.

    Args:
        folder: Where `base` and `delta` go.
        plain: Gives the base's network.
        targets: The modules that the LoRA is on.
        headed: Gives the network that is trained, from the base's folder; None trains the base.
        task: The task of peft's.
        words: The tokenizer; none without.
        seed: Of the numbers.
        std: Their deviation.
    """
    with small_networks.quiet():
        torch.manual_seed(seed)
        network = plain()
        network.save_pretrained(folder / "base")
        if words is not None:
            words.save_pretrained(folder / "base")
        trained = network if headed is None else headed(folder / "base")
        config = peft.LoraConfig(task_type=task, r=2, target_modules=targets)
        model = peft.get_peft_model(trained, config).eval()
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=std)
        model.save_pretrained(folder / "delta")
    return Judged(folder / "base", folder / "delta", model, words)


def bert(**more):
    """Give the config of a small encoder."""
    return transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **SIZE, **more)


def encoder(folder, *, labels=None, seed=0):
    """An encoder without a head; with a head of so many labels in the delta, if asked."""
    headed = None
    if labels is not None:
        auto = transformers.AutoModelForSequenceClassification
        headed = lambda path: auto.from_pretrained(path, num_labels=labels)  # noqa: E731
    return make(
        folder,
        lambda: transformers.BertModel(bert()),
        ["query", "value"],
        headed=headed,
        task=None if labels is None else "SEQ_CLS",
        words=tokenizer(),
        seed=seed,
    )


def translator(folder, *, seed=0):
    """An encoder-decoder of T5's form."""
    config = transformers.T5Config(
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        vocab_size=len(WORDS),
        decoder_start_token_id=0,
        eos_token_id=2,
        pad_token_id=0,
        initializer_factor=2.0,
    )
    return make(
        folder,
        lambda: transformers.T5ForConditionalGeneration(config),
        ["q", "v"],
        task="SEQ_2_SEQ_LM",
        words=tokenizer(),
        seed=seed,
        std=0.1,
    )


def writer(folder, *, seed=0):
    """A network that goes on with words, of Llama's form."""
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), max_position_embeddings=64, num_key_value_heads=2, **SIZE, **ENDED
    )
    return make(
        folder,
        lambda: transformers.LlamaForCausalLM(config),
        ["q_proj", "v_proj"],
        task="CAUSAL_LM",
        words=tokenizer(ends=False),
        seed=seed,
    )


def whisper(folder):
    """A network that hears and writes."""
    options = {**small_networks.NETWORKS["whisper"][1], "vocab_size": len(WORDS), **ENDED}
    config = transformers.WhisperConfig(**options)
    return make(
        folder, lambda: transformers.WhisperForConditionalGeneration(config), ["q_proj", "v_proj"], words=tokenizer()
    )


def listener(folder):
    """A network that names the letter of each frame: CTC."""
    config = transformers.Wav2Vec2Config(
        vocab_size=len(WORDS),
        conv_dim=(8, 8),
        conv_kernel=(3, 3),
        conv_stride=(2, 2),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        **SIZE,
        **ENDED,
    )
    made = make(folder, lambda: transformers.Wav2Vec2ForCTC(config), ["q_proj", "v_proj"])
    (folder / "base" / "vocab.json").write_text(json.dumps({w: n for n, w in enumerate(WORDS)}))
    with small_networks.quiet():
        words = transformers.Wav2Vec2CTCTokenizer(str(folder / "base" / "vocab.json"), word_delimiter_token="|")
        words.save_pretrained(folder / "base")
    made.tokenizer = words
    return made


def seer(folder):
    """A network that answers about images, of LLaVA's form."""
    kind, options = small_networks.NETWORKS["llava"]
    text = {**options["text_config"], "vocab_size": len(WORDS), "max_position_embeddings": 64}
    config = transformers.LlavaConfig(**{**options, "text_config": text})
    return make(folder, lambda: getattr(transformers, kind)(config), ["q_proj", "v_proj"], words=tokenizer(ends=False))


def vectors(network, words, texts):
    """Embed texts by the library, one by one: the mean of their tokens, of length one."""
    found = []
    with torch.no_grad():
        for text in texts:
            hidden = network(**words(text, return_tensors="pt")).last_hidden_state[0]
            mean = hidden.mean(0).double().numpy()
            found.append(mean / np.linalg.norm(mean))
    return np.array(found)
