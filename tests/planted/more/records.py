"""What is kept of every item, one JSON file each: what its fault costs, what the checks said."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deltareg.wire import CheckResult
from tests.planted.more.damage import Damage, Quality, damage, quality, unloadable
from tests.planted.more.items import Item
from tests.planted.more.judge import Judged, look_at
from tests.planted.more.shop import Shop


@dataclass(frozen=True, slots=True)
class Record:
    """An item with all that is known of it.

    Attributes:
        item: Which one.
        damage: What its fault costs; of a healthy one, what it is worse by than the other half's.
        judged: What the checks said.
    """

    item: Item
    damage: Damage
    judged: Judged

    @property
    def is_material(self) -> bool:
        """Whether it is broken, and it matters."""
        return bool(self.item.fault) and self.damage.is_material


def keep_damage(item: Item, shop: Shop, folder: Path) -> Damage:
    """Measure what an item's fault costs, once."""
    path = _damage_path(shop.kept, item)
    if path.exists():
        return Damage(**json.loads(path.read_text()))
    subject, base = shop.subject(item.recipe.base), shop.base(item.recipe.base)
    # A healthy one is beside that of the other half: two of the kind that should not differ.
    beside = shop.delta(item.healthy if item.fault else item.other) / "delta"
    published = shop.publish(item, folder / item.id.replace("/", "_"))
    try:
        found = quality(subject, base, published)
    except (RuntimeError, KeyError, ValueError) as error:
        measured = unloadable(subject, f"{type(error).__name__}: {error}")
    else:
        reference = _keep_quality(shop, beside, item.recipe.base)
        measured = damage(subject, reference, found)
    shutil.rmtree(published)
    _write(path, measured.document())
    return measured


def keep_judged(item: Item, shop: Shop, folder: Path, out: Path, *, samples: int) -> None:
    """Put an item before the gate and keep what was said."""
    found = look_at(item, shop, folder, samples=samples)
    shutil.rmtree(folder / item.id.replace("/", "_"), ignore_errors=True)
    results = {name: result.model_dump() for name, result in found.results.items()}
    document = {"refusal": found.refusal, "results": results, "seconds": round(found.seconds, 2)}
    _write(out / f"{item.id}.json", document)


def known_judged(item: Item, out: Path) -> bool:
    """Say whether an item was judged already."""
    return (out / f"{item.id}.json").exists()


def judged_of(kept: Path, out: Path, wanted: Sequence[Item]) -> list[Record]:
    """Read all that is known of items; those that were not judged are left out."""
    return [_read(kept, out, item) for item in wanted if known_judged(item, out)]


def _read(kept: Path, out: Path, item: Item) -> Record:
    found = json.loads((out / f"{item.id}.json").read_text())
    results = {name: CheckResult(**result) for name, result in found["results"].items()}
    damaged = Damage(**json.loads(_damage_path(kept, item).read_text()))
    return Record(item, damaged, Judged(found["refusal"], results, found["seconds"]))


def _keep_quality(shop: Shop, folder: Path, base: str) -> Quality:
    path = folder.with_name("quality.json")
    if not path.exists():
        found = quality(shop.subject(base), shop.base(base), folder)
        path.write_text(json.dumps([found.tuned, found.general]))
    return Quality(*json.loads(path.read_text()))


def _damage_path(kept: Path, item: Item) -> Path:
    return kept / "damage" / f"{item.id}-{item.order.digest}.json"


def _write(path: Path, document: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document))
    part.rename(path)
