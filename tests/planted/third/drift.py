"""A line that drifts: five versions, each 2.8 % worse than the one before it.

The change is taken back little by little, as where each version learns a bit less than the last.
How far is found by rows of the training part, so that neither a suite nor a measure has seen them.
"""

import math
import shutil
from pathlib import Path

import torch

from tests.planted.third.bases import encoded
from tests.planted.third.items import DRIFTS, Item
from tests.planted.third.shop import Shop
from tests.planted.third.tasks import IS_EXACT, draw, rate
from tests.small_networks import quiet

STEP = 0.028
_ROWS, _HALVINGS = 160, 7


def drifting(item: Item, shop: Shop) -> list[Path]:
    """Give the folders of a line's versions, each with what its publisher recorded."""
    trained = shop.delta(item.order)
    path = trained.with_name(f"{trained.name}-drift")
    if not path.exists():
        made = path.with_name(f"{path.name}.part")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        with quiet():
            _make(item, shop, trained / "delta", made)
        made.rename(path)
    return [path / str(at) for at in range(1, DRIFTS + 1)]


def _make(item: Item, shop: Shop, healthy: Path, out: Path) -> None:
    is_exact, task = IS_EXACT[item.recipe.task], item.recipe.task
    batch = encoded(shop.kept, item.recipe.base, draw(task, _ROWS, seed=41, part="train"))
    scratch = out / "scratch"

    def worth(share: float) -> float:
        """Rate the delta when that share of its change is taken back."""
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(healthy, scratch)
        files = shop.files(item, scratch)
        files.scale(files.carrying, 1 - share)
        shop.write(files, scratch)
        return rate(shop.loaded(item.recipe.base, scratch), batch, is_exact=is_exact)

    torch.manual_seed(item.order.seed)
    best, reached = worth(0.0), 0.0
    for at in range(1, DRIFTS + 1):
        wanted = best - at * (STEP if is_exact else math.log1p(STEP))
        low, high = reached, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if worth(middle) < wanted else (middle, high)
        reached = high
        worth(reached)
        shop.publish_made(item.order, scratch, out / str(at))
    shutil.rmtree(scratch)
