"""What the planted bases have learnt: a small language, its topics, and pictures of stripes.

Each comes in two domains: `general`, which a base is trained on, and `tuned`, which its deltas are
trained for. Everything follows from seeds, and examples are drawn as they are wanted.
"""

from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

Domain = Literal["general", "tuned"]
Examples = dict[str, torch.Tensor]
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
WORDS = 60
LENGTH = 20
CLASSES = 4
PIXELS = 12
_SYLLABLES = ("ba", "de", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu")
_FOLLOWERS = 6
_NEW_WORDS = 0.6
_TOPIC_WORDS = 7
_TOPICAL = 0.5


def vocabulary() -> list[str]:
    """Give every token, in the order of its number."""
    made = [first + second for first in _SYLLABLES for second in _SYLLABLES]
    return [*SPECIAL, *made[:WORDS]]


def sentences(domain: Domain, count: int, *, seed: int) -> Examples:
    """Give sentences of the language (count, LENGTH), which are their own labels."""
    ids = torch.from_numpy(_walk(np.random.default_rng(seed), domain, count))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


def topics(domain: Domain, count: int, *, seed: int) -> Examples:
    """Give sentences about one of four topics, and the topic.

    A topic has words of its own; in the other domain most of them are others that no topic had.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    ids = _walk(random, "general", count)
    own = _topic_words(domain)[labels]
    picked = np.take_along_axis(own, random.integers(0, _TOPIC_WORDS, ids.shape), axis=1)
    is_topical = random.random(ids.shape) < _TOPICAL
    made = torch.from_numpy(np.where(is_topical, picked, ids))
    return {"input_ids": made, "attention_mask": torch.ones_like(made), "labels": torch.from_numpy(labels)}


def stripes(domain: Domain, count: int, *, seed: int) -> Examples:
    """Give pictures (count, 1, PIXELS, PIXELS) of stripes in one of four directions.

    In the other domain they are so narrow that they hardly show, in more noise.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    wave, noisy = (0.9, 0.4) if domain == "general" else (2.5, 0.5)
    angles = labels * np.pi / CLASSES + random.normal(0, 0.08, count)
    across, down = np.meshgrid(np.arange(PIXELS), np.arange(PIXELS))
    along = np.cos(angles)[:, None, None] * across + np.sin(angles)[:, None, None] * down
    waves = np.sin(wave * along + random.uniform(0, 2 * np.pi, (count, 1, 1)))
    noise = random.normal(0, noisy, waves.shape)
    pixels = torch.from_numpy((waves + noise)[:, None].astype(np.float32))
    return {"pixel_values": pixels, "labels": torch.from_numpy(labels)}


def _walk(random: np.random.Generator, domain: Domain, count: int) -> NDArray[np.int64]:
    """Walk a chain of words: each is followed by one of a few others."""
    reached = np.cumsum(_chain(domain), axis=1)
    ids = np.empty((count, LENGTH), np.int64)
    word = random.integers(0, WORDS, count)
    for at in range(LENGTH):
        ids[:, at] = word + len(SPECIAL)
        word = (random.random((count, 1)) > reached[word]).sum(axis=1).clip(max=WORDS - 1)
    return ids


@cache
def _chain(domain: Domain) -> NDArray[np.float64]:
    """Give the probability of every word after every word (WORDS, WORDS)."""
    random = np.random.default_rng(7)
    general, tuned = _followers(random), _followers(random)
    if domain == "general":
        return general
    is_new = random.random((WORDS, 1)) < _NEW_WORDS
    return np.where(is_new, tuned, general)


def _followers(random: np.random.Generator) -> NDArray[np.float64]:
    chances = np.full((WORDS, WORDS), 0.04 / WORDS)
    for row in chances:
        places = random.choice(WORDS, _FOLLOWERS, replace=False)
        row[places] += 0.96 * random.dirichlet(np.ones(_FOLLOWERS))
    return chances / chances.sum(axis=1, keepdims=True)


@cache
def _topic_words(domain: Domain) -> NDArray[np.int64]:
    words = np.random.default_rng(9).permutation(WORDS) + len(SPECIAL)
    own, new = words[: 2 * CLASSES * _TOPIC_WORDS].reshape(2, CLASSES, _TOPIC_WORDS)
    return own if domain == "general" else np.concatenate([own[:, :2], new[:, 2:]], axis=1)
