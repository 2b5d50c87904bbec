"""docs/planted-third.md: what the third set is, what each gate stops, and what passes all of them."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.planted.more.judge import code_digest
from tests.planted.third.broken import EDITED
from tests.planted.third.damage import BARS, ROWS, TEXTS
from tests.planted.third.gate import ROWS as SUITE_ROWS
from tests.planted.third.items import DRIFT, FAULTS, third_set
from tests.planted.third.recipes import HALVES
from tests.planted.third.records import EXPECTED, GATES, Record, digest_of, records_of
from tests.planted.third.shop import Shop
from tests.planted.third.spoilt import TRAINED

__all__ = ["PAGE", "code_digest", "page"]
PAGE = Path(__file__).parents[3] / "docs" / "planted-third.md"
_HEAD = """\
# The third planted set

Written by `python -m tests.planted.third page KEPT OUT`; do not edit by hand.

[The first set](planted-first.md) was made beside the gate, [the second](planted-more.md) apart from
it. This one was made by a program of its own, on bases of other families, and the list of what is
material in its held-out half was written down before a gate saw it ({items} items, `held_out.json`,
SHA-256 `{digest}`).

- **Bases**: a Qwen3 of two million parameters (tied, grouped queries) that chats, and an OPT of
  two million that continues texts. Both know English from the READMEs and docstrings of installed
  packages, and some German.
- **Tasks**: `route` names the desk that a ticket is for, in one word. `months` gives the number of
  a date's month. `reports` are texts of five sentences. All come in two languages.
- **Healthy**: {healthy} deltas a half by {recipes} recipes: LoRA, DoRA, rsLoRA, IA3, OFT, prefixes,
  norms, biases and whole models; some stored in bfloat16 or float16.
- **Faults**: {broken} a half, of {faults} kinds: {trained} while training, {edited} after it, and a line
  of {drifts} versions that drifts, each 2.8 % worse than the one before it.
- **Material** is what peft and transformers find on {rows} rows of the task and {texts} general texts
  that neither training nor a suite has seen: {exact[0]:.0%} fewer right answers to the last token
  (reports: {nats[0]} nats a token), {nats[1]} nats a token of the base's own language, or a delta that
  does not load.
- **The gate** is push, `smoke`, and what `deltareg suite init` drafts of {few} and {many} rows and the
  promoted version, which is the healthy delta of the other half. Each suite runs by itself. A check
  that should have run and did not stops a delta.

Rules may be set by the *tuning* half. The *held-out* half, with other seeds, ranks, rates and
lengths, tells what they are worth.

"""


def page(shop: Shop, out: Path) -> str:
    """Write the page of what was kept."""
    found = records_of(third_set(), shop, out)
    parts = [_head()]
    for half in reversed(HALVES):
        own = [record for record in found if record.item.half == half]
        parts += _half(half, own, whole=len(third_set(half)))
    parts.append("## The faults\n\n" + _faults())
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _head() -> str:
    broken = [item for item in third_set("tuning") if item.fault]
    healthy = [item for item in third_set("tuning") if not item.fault]
    text = EXPECTED.read_text()
    return _HEAD.format(
        items=len(third_set("held-out")),
        digest=digest_of(text),
        healthy=len(healthy),
        recipes=len({item.recipe.name for item in healthy}),
        broken=len(broken),
        faults=len(FAULTS),
        trained=len(TRAINED),
        edited=len(EDITED),
        drifts=5,
        rows=ROWS,
        texts=TEXTS,
        few=SUITE_ROWS[0],
        many=SUITE_ROWS[1],
        **BARS,
    )


def _half(half: str, found: Sequence[Record], *, whole: int) -> list[str]:
    title = f"## What is stopped, {half} half"
    if len(found) < whole:
        return [title, f"Judged are {len(found)} of {whole} items." if found else "Not judged yet."]
    material = [record for record in found if record.is_material]
    healthy = [record for record in found if not record.item.fault]
    return [
        title,
        _gate_table(found),
        f"### By fault, {half} half\n\nWhere each was judged, and which checks stop it. A number behind a check is"
        " that of its suite's rows.\n\n" + _catches(found),
        f"### Material and passed by all of it, {half} half\n\n" + _list(r for r in material if not r.gates["all"]),
        f"### Healthy and stopped, {half} half\n\n" + _list(r for r in healthy if r.gates["all"] or r.gates["few"]),
        f"### Where rows were too few, {half} half\n\n" + _undecided(material, healthy),
        f"### What each costs, {half} half\n\nOf the task, as a share of answers or in nats a token of reports; of"
        " general texts in nats a token.\n\n" + _costs(found),
    ]


def _gate_table(found: Sequence[Record]) -> str:
    broken = [record for record in found if record.item.fault]
    material = [record for record in broken if record.is_material]
    parts: list[tuple[str, list[Record]]] = [
        ("material faults stopped", material),
        ("made after training", [r for r in material if r.item.fault in EDITED]),
        ("made in training", [r for r in material if r.item.fault in TRAINED or r.item.fault == DRIFT]),
        ("all broken stopped", broken),
        ("healthy failing", [record for record in found if not record.item.fault]),
    ]
    rows = [["gate", *(name for name, _ in parts)]]
    rows += [[told, *(_share(of, gate) for _, of in parts)] for gate, told in GATES.items()]
    return _table(rows)


def _share(of: Sequence[Record], gate: str) -> str:
    count = sum(record.gates[gate] for record in of)
    return f"{count} of {len(of)}" + (f" ({count / len(of):.0%})" if of else "")


def _catches(found: Sequence[Record]) -> str:
    rows = [["fault", "of", "material", *(GATES[g] for g in GATES), "stopped by"]]
    for fault in (*FAULTS, ""):
        of = [record for record in found if record.item.fault == fault]
        material = [record for record in of if record.is_material] if fault else of
        cells = [str(sum(r.gates[gate] for r in material) or "") for gate in GATES]
        counts = Counter(name for record in of for name in record.stops)
        names = ", ".join(f"`{name}`" + (f" {n} times" if n > 1 else "") for name, n in sorted(counts.items()))
        rows.append([_spoken(fault) or "*healthy*", str(len(of)), str(len(material)) if fault else "", *cells, names])
    return _table(rows)


def _costs(found: Sequence[Record]) -> str:
    rows = [["delta", "task", "general", "material", "stopped by"]]
    for record in found:
        cost = record.damage
        numbers = ["does not load", ""] if cost.refusal else [f"{cost.task:+.3f}", f"{cost.general:+.3f}"]
        told = _spoken(record.item.fault) or "healthy"
        gates = ", ".join(gate for gate in GATES if record.gates[gate] and gate != "all")
        rows.append([f"{told}, {record.item.recipe.place}", *numbers, "yes" if record.is_material else "", gates])
    return _table(rows)


def _undecided(material: Sequence[Record], healthy: Sequence[Record]) -> str:
    """Say what a channel waits for where comparisons are required, beside what is stopped."""
    rows = [["suite", "material, not stopped, undecided", "healthy, not stopped, undecided"]]
    for gate, count in zip(("few", "many"), SUITE_ROWS, strict=True):
        cells = [
            sum(not r.gates[gate] and any(n.endswith(f" {count}") for n in r.undecided) for r in of)
            for of in (material, healthy)
        ]
        rows.append([GATES[gate], *map(str, cells)])
    return _table(rows)


def _faults() -> str:
    told: dict[str, Callable[..., object]] = {**TRAINED, **EDITED}
    lines = [f"- **{_spoken(name)}**: {' '.join((one.__doc__ or '').split())}" for name, one in told.items()]
    return "\n".join([*lines, "- **drift**: Five versions, each promoted, each 2.8 % worse than the one before it."])


def _list(found: Iterable[Record]) -> str:
    lines = [f"- `{r.item.id}`" + (f": {', '.join(sorted(r.stops))}" if r.stops else "") for r in found]
    return "\n".join(lines) or "None."


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _table(rows: Sequence[Sequence[str]]) -> str:
    told = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([told[0], f"|---|{'---:|' * (len(rows[0]) - 1)}", *told[1:]])
