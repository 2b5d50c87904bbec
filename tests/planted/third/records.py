"""What is kept of every item: what its fault costs, what the gate said; and the held-out half's list."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deltareg.wire import CheckResult
from tests.planted.third.damage import Damage, keep_damage
from tests.planted.third.gate import PUSH, RECORDED, ROWS, SMOKE, Judged, look_at, suite_name
from tests.planted.third.items import Item
from tests.planted.third.shop import Shop

EXPECTED = Path(__file__).with_name("held_out.json")
_MANY, _FEW = suite_name(ROWS[-1]), suite_name(ROWS[0])
GATES = {
    "smoke": "`smoke`",
    "recorded": "with golden outputs and the training's record",
    "few": f"`smoke` and `suite init` of {ROWS[0]} rows",
    "many": f"`smoke` and `suite init` of {ROWS[-1]} rows",
    "all": "all of it",
}


@dataclass(frozen=True, slots=True)
class Record:
    """An item with all that is known of it.

    Attributes:
        item: Which one.
        damage: What its fault costs; of a healthy one, what it is worse by than the other half's.
        judged: What the gate said, of each version of a line that drifts.
    """

    item: Item
    damage: Damage
    judged: Sequence[Judged]

    @property
    def is_material(self) -> bool:
        """Whether it is broken, and it matters."""
        return bool(self.item.fault) and self.damage.is_material

    @property
    def gates(self) -> dict[str, bool]:
        """Say at which gates it is stopped."""
        told = [_gates_of(one) for one in self.judged]
        return {gate: any(one[gate] for one in told) for gate in GATES}

    @property
    def stops(self) -> frozenset[str]:
        """Name all that stops it; a check of a drafted suite with the number of its rows."""
        found = set[str]()
        for one in self.judged:
            found |= one.stops(SMOKE)
            found |= {f"{name} {rows}" for rows in ROWS for name in one.stops(suite_name(rows))}
        return frozenset(found)

    @property
    def undecided(self) -> frozenset[str]:
        """Name what rows were too few to decide."""
        return frozenset(
            f"{name} {rows}" for one in self.judged for rows in ROWS for name in one.undecided(suite_name(rows))
        )


def _gates_of(judged: Judged) -> dict[str, bool]:
    by_smoke = judged.stops(SMOKE)
    alone = bool(by_smoke - RECORDED) or PUSH in by_smoke
    recorded, few, many = bool(by_smoke), bool(judged.stops(_FEW)), bool(judged.stops(_MANY))
    return {"smoke": alone, "recorded": recorded, "few": alone or few, "many": alone or many, "all": recorded or many}


def keep_judged(item: Item, shop: Shop, folder: Path, out: Path) -> None:
    """Put an item before the gate and keep what was said, once."""
    path = out / f"{item.id}.json"
    if path.exists():
        return
    told = [
        {
            "results": {s: {n: r.model_dump() for n, r in results.items()} for s, results in one.results.items()},
            "seconds": round(one.seconds, 2),
        }
        for one in look_at(item, shop, folder)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(told))
    part.rename(path)


def records_of(items: Sequence[Item], shop: Shop, out: Path) -> list[Record]:
    """Read all that is known of items; those that were not judged are left out."""
    there = [item for item in items if (out / f"{item.id}.json").exists()]
    return [Record(item, keep_damage(item, shop, out), _read(out / f"{item.id}.json")) for item in there]


def _read(path: Path) -> list[Judged]:
    return [
        Judged(
            {s: {n: CheckResult(**r) for n, r in results.items()} for s, results in one["results"].items()},
            one["seconds"],
        )
        for one in json.loads(path.read_text())
    ]


def expectations(items: Sequence[Item], shop: Shop, folder: Path) -> str:
    """Write down which items are material, before a gate has seen any of them."""
    told = []
    for item in items:
        cost = keep_damage(item, shop, folder)
        worth = {"task": round(cost.task, 3), "general": round(cost.general, 3), "sort": cost.sort}
        own = {"material": bool(item.fault) and cost.is_material, **worth}
        told.append({"id": item.id, **own} | ({"refused": True} if cost.refusal else {}))
    lines = ",\n".join(json.dumps(one) for one in told)
    return f"[\n{lines}\n]\n"


def digest_of(text: str) -> str:
    """Give the digest under which a page says what was expected."""
    return hashlib.sha256(text.encode()).hexdigest()
