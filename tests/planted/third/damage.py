"""What a fault costs, measured by torch and the libraries alone: is it material?

Both the broken delta and its healthy original are loaded by the library that wrote them, and rated
on hundreds of rows that neither training nor a suite has seen. Nothing of the registry takes part.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.planted.third.bases import encoded, general_batch
from tests.planted.third.drift import drifting
from tests.planted.third.items import DRIFT, Item
from tests.planted.third.shop import Shop
from tests.planted.third.tasks import IS_EXACT, draw, rate

ROWS, TEXTS = 240, 120
BARS = {"exact": (0.08, 0.25), "nats": (0.10, 0.25)}
"""What may be lost of a task, as a share of right answers or in nats a token, and of general texts."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a delta is, more is better.

    Attributes:
        task: The share of answers that are right to their end, or minus nats a token.
        general: Minus nats a token of the base's own language.
    """

    task: float
    general: float


@dataclass(frozen=True, slots=True)
class Damage:
    """What a fault costs.

    Attributes:
        task: Lost on what the delta is for.
        general: Lost on the base's own language.
        sort: What the task is measured by: `exact` or `nats`.
        healthy: How good it would be.
        refusal: What the library says instead of loading it; empty where it loads.
    """

    task: float
    general: float
    sort: str
    healthy: float
    refusal: str = ""

    @property
    def is_material(self) -> bool:
        """Whether either is more than its bar, or the library loads it not at all."""
        most = BARS[self.sort]
        return bool(self.refusal) or self.task > most[0] or self.general > most[1]


def keep_damage(item: Item, shop: Shop, folder: Path) -> Damage:
    """Measure what an item costs, once; a healthy one is beside that of the other half."""
    path = shop.kept / "damage" / f"{item.id}-{item.order.digest}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(_measured(item, shop, folder))))
    return Damage(**json.loads(path.read_text()))


def _measured(item: Item, shop: Shop, folder: Path) -> Damage:
    sort = "exact" if IS_EXACT[item.recipe.task] else "nats"
    before = _known_quality(shop, item, shop.delta(item.healthy if item.fault else item.other))
    out = folder / item.id.replace("/", "_")
    published = drifting(item, shop)[-1] if item.fault == DRIFT else shop.publish(item, out)
    try:
        after = _quality(shop, item, published)
    except (RuntimeError, KeyError, ValueError) as error:
        return Damage(0.0, 0.0, sort, before.task, f"{type(error).__name__}: {error}"[:200])
    return Damage(_lost(before.task, after.task), _lost(before.general, after.general), sort, before.task)


def _known_quality(shop: Shop, item: Item, trained: Path) -> Quality:
    path = trained / "quality.json"
    if not path.exists():
        path.write_text(json.dumps(asdict(_quality(shop, item, trained / "delta"))))
    return Quality(**json.loads(path.read_text()))


def _quality(shop: Shop, item: Item, folder: Path) -> Quality:
    base, task = item.recipe.base, item.recipe.task
    network = shop.loaded(base, folder)
    own, general = [], []
    for at in range(4):
        rows = draw(task, ROWS, seed=800, part="measure")[at::4]
        own.append(rate(network, encoded(shop.kept, base, rows), is_exact=IS_EXACT[task]))
        texts = general_batch(shop.kept, base, TEXTS // 4, seed=900 + at, part="measure")
        general.append(rate(network, texts, is_exact=False))
    return Quality(float(np.mean(own)), float(np.mean(general)))


def _lost(before: float, after: float) -> float:
    return before - after if np.isfinite(after) else 99.0
