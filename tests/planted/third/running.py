"""The work of one process: the items of a place made, measured and judged, one after the other."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import logging

from tests.planted.third.damage import keep_damage
from tests.planted.third.items import Item
from tests.planted.third.records import keep_judged
from tests.planted.third.shop import Shop
from tests.small_networks import quiet


@dataclass(frozen=True, slots=True)
class Work:
    """What one process does.

    Attributes:
        items: Of one place.
        kept: Where what is trained and measured is kept.
        out: Where it is kept what the gate said; None to make and measure alone.
    """

    items: tuple[Item, ...]
    kept: Path
    out: Path | None


def run(work: Work) -> tuple[str, int, float]:
    """Do it; gives how many items of which place took how many seconds of processor time."""
    started, shop = time.process_time(), Shop(work.kept)
    with tempfile.TemporaryDirectory() as folder, quiet():
        for item in work.items:
            cost = keep_damage(item, shop, Path(folder))
            if work.out is None:
                print(item.id, f"{cost.task:+.3f} {cost.general:+.3f} of {cost.healthy:.3f} {cost.refusal}", flush=True)
            else:
                keep_judged(item, shop, Path(folder), work.out)
    return work.items[0].recipe.place, len(work.items), time.process_time() - started


def still() -> None:
    """Keep a process to one thread, and libraries from drawing bars."""
    torch.set_num_threads(1)
    logging.disable_progress_bar()
