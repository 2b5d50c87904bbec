"""The work of one process: the items of a base made, measured and judged, one after the other."""

import tempfile
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import logging

from tests.planted.more.items import Item
from tests.planted.more.records import keep_damage, keep_judged, known_judged
from tests.planted.more.shop import Shop
from tests.small_networks import quiet


@dataclass(frozen=True, slots=True)
class Work:
    """What one process does.

    Attributes:
        items: Of one base.
        kept: Where what is trained and measured is kept.
        out: Where it is kept what the checks said.
        steps: `make`, `judge` or both.
        samples: How many of the tuned domain a suite has.
    """

    items: tuple[Item, ...]
    kept: Path
    out: Path
    steps: Set[str]
    samples: int


def run(work: Work) -> tuple[int, str, float]:
    """Do it; gives how many items of which base took how many seconds of processor time."""
    started, shop = time.process_time(), Shop(work.kept)
    with tempfile.TemporaryDirectory() as folder, quiet():
        for item in work.items:
            if "make" in work.steps:
                told = keep_damage(item, shop, Path(folder))
                print(item.id, told.document(), flush=True)
            if "judge" in work.steps and not known_judged(item, work.out):
                keep_judged(item, shop, Path(folder), work.out, samples=work.samples)
                print(item.id, "judged", flush=True)
    return len(work.items), work.items[0].recipe.base, time.process_time() - started


def still() -> None:
    """Keep a process to one thread, and libraries from drawing bars."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
