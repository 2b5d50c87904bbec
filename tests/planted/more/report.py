"""docs/planted-more.md: what the second set is, what each gate stops, which check catches what."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.planted.more.bases import NAMES, subjects
from tests.planted.more.broken_files import EDITED
from tests.planted.more.broken_training import TRAINED
from tests.planted.more.damage import BARS
from tests.planted.more.items import FAULTS, second_set
from tests.planted.more.judge import gates
from tests.planted.more.orders import HALVES
from tests.planted.more.records import Record

PAGE = Path(__file__).parents[3] / "docs" / "planted-more.md"
_HEAD = """\
# The second planted set

Written by `python -m tests.planted.more KEPT OUT --write`; do not edit by hand.

[The first set](planted-first.md) was made beside the gate that it measures. This one was made apart from
it: other bases, published ones among them, and {faults} other ways to break a delta. {healthy}
healthy deltas and {broken} broken ones are here, on {bases} bases of {modalities} modalities. All
of it follows from seeds (`tests/planted/more`), but for the texts: READMEs, docstrings and code of
the packages that are installed.

A fault is *material* by a measure that has no part in the gate. The library that wrote a delta
loads it, broken and healthy, and both are rated on hundreds of samples of each domain that neither
training nor a suite has seen: by the loss in nats a token, or by the share that is right (one over
the rank where something is searched). Material is what costs more than {nats[0]} nats or
{share[0]:.0%} on what the delta is for, more than {nats[1]} nats or {share[1]:.0%} on the base's
own domain, or does not load at all.

Everything comes twice, with other seeds, rates and lengths. Thresholds may be set on the *tuning*
half; the *held-out* half tells what they are worth. The promoted version that a delta is held
against is the healthy one of the other half. A check that should have run and did not stops a
delta, as at work. The suite is what `deltareg suite init` drafts of 200 samples and the promoted
version; for speech, which it does not draft for, one that was written by hand.

"""
_UNSEEN = """## What nothing shows but the publisher's data

`smoke` has stored values and what the base itself knows. Some classes of faults leave no mark in
these, and no threshold on them would stop such a delta without stopping healthy ones:

- *The sign or the place of a product* (one layer or all negated, layers, modules or rows exchanged
  in a LoRA). A product is as likely in one place as in another, and its factors lean together there
  as well. Of weights that are stored whole `placement` sees it, for the base has its own there.
- *A scale within an order of magnitude* (alpha doubled or halved, divided by the rank or its root,
  merged twice, a third of the training). Healthy deltas of one base differ by more.
- *What was learned from other data* (labels shifted or mixed up, another template or tokenizer, an
  end never learned, another revision of the base, data memorised). The delta is whole and does what
  it was trained for. Where general text becomes thrice as unlikely, `general_perplexity` stops it.
  Held to text that the base itself would write, healthy deltas lose up to 1.5 nats a token
  ([the first set](planted-first.md)), so a closer look would stop these.

Recorded outputs see all that happened after training. Of what went wrong within it, the counts that
a callback records of the first batches show labels, ends, padding and ids that do not belong to the
base (`first_batches`; its rules were written when both halves had been seen), what it says of steps
and rate shows a job that was broken off (`whole_training`), and samples the rest.
"""
_GATES = {
    "smoke": "push and `smoke`, nothing from the publisher",
    "golden": "and golden outputs",
    "suite": "push, `smoke` and what `suite init` drafts of 200 samples",
    "all": "all of it",
}


def page(found: Sequence[Record]) -> str:
    """Write the page from what is known."""
    parts = [_head(found)]
    for half in reversed(HALVES):
        of = [record for record in found if record.item.half == half]
        if of:
            parts.append(f"## What is stopped, {half} half\n\n{_gates(of)}")
    told = [r for r in found if r.item.half == "held-out"] or list(found)
    parts += [
        _UNSEEN.strip(),
        "## By base\n\n" + _by_base(told),
        "## Which check catches what\n\nHow many of each fault, on the held-out half where it was "
        "judged. Every check runs here;\nat work the first static failure stops the others.\n\n" + _catches(told),
        "## Material faults that pass\n\n" + _list(r for r in told if r.is_material and _passes(r)),
        "## Healthy deltas that fail\n\nHealthy is what was trained as it should be; how good it came out, "
        "the check says.\n\n" + _list(r for r in found if not r.item.fault and not _passes(r)),
        "## What each fault costs\n\n" + _costs(found),
        "## The faults\n\n" + _faults(),
    ]
    return "\n\n".join(parts) + "\n"


def _head(found: Sequence[Record]) -> str:
    bases = [name for name in NAMES if any(r.item.recipe.base == name for r in found)]
    known = subjects(Path())
    healthy = sum(not record.item.fault for record in found)
    text = _HEAD.format(
        faults=len({r.item.fault for r in found} - {""}),
        healthy=healthy,
        broken=len(found) - healthy,
        bases=len(bases),
        **BARS,
        modalities=len({known[name].modality for name in bases}),
    )
    rows = [["base", "takes", "is"]]
    rows += [[f"`{name}`", known[name].modality, known[name].about] for name in bases]
    static = [name for name in bases if known[name].is_static]
    told = f"\n\nNo worker can run {', '.join(static)}: judged by stored values alone." * bool(static)
    missing = len(second_set()) - len(found)
    if missing:
        told += f"\n\n**{missing} of {len(second_set())} items were not judged for this page.**"
    return text + _table(rows, numbers=False) + told


def _gates(found: Sequence[Record]) -> str:
    broken = [record for record in found if record.item.fault]
    material = [record for record in broken if record.is_material]
    healthy = [record for record in found if not record.item.fault]
    after = [record for record in material if record.item.fault in EDITED]
    trained = [record for record in material if record.item.fault in TRAINED]
    rows = [
        [
            "gate",
            "material faults stopped",
            "made after training",
            "made in training",
            "all broken stopped",
            "healthy failing",
        ]
    ]
    for gate, told in _GATES.items():
        cells = [_stopped(of, gate) for of in (material, after, trained, broken, healthy)]
        rows.append([told, *cells])
    return _table(rows)


def _by_base(found: Sequence[Record]) -> str:
    rows = [["base", "material", *(f"by {gate}" for gate in _GATES), "healthy", "failing"]]
    for name in NAMES:
        of = [record for record in found if record.item.recipe.base == name]
        material = [record for record in of if record.is_material]
        healthy = [record for record in of if not record.item.fault]
        if of:
            failing = sum(not _passes(record) for record in healthy)
            cells = [str(sum(gates(r.judged)[gate] for r in material)) for gate in _GATES]
            rows.append([name, str(len(material)), *cells, str(len(healthy)), str(failing)])
    return _table(rows)


def _catches(found: Sequence[Record]) -> str:
    counts = {
        fault: Counter(n for r in found if r.item.fault == fault for n in r.judged.stops) for fault in (*FAULTS, "")
    }
    names = sorted({name for counted in counts.values() for name in counted})
    rows = [["fault", "of", "material", *(f"`{name}`" for name in names)]]
    for fault, counted in counts.items():
        of = [record for record in found if record.item.fault == fault]
        if of:
            material = str(sum(r.is_material for r in of) or "") if fault else ""
            cells = [str(counted[name] or "") for name in names]
            rows.append([_spoken(fault) or "*healthy*", str(len(of)), material, *cells])
    return _table(rows)


def _costs(found: Sequence[Record]) -> str:
    rows = [["fault", "where", "half", "lost on its own", "lost in general", "material"]]
    for record in found:
        if record.item.fault:
            cost, item = record.damage, record.item
            numbers = ["does not load", ""] if cost.refusal else [f"{cost.tuned:+.3f}", f"{cost.general:+.3f}"]
            rows.append(
                [_spoken(item.fault), item.recipe.place, item.half, *numbers, "yes" if cost.is_material else ""]
            )
    return _table(rows)


def _faults() -> str:
    told: dict[str, Callable[..., object]] = {**EDITED, **TRAINED}
    return "\n".join(f"- **{_spoken(name)}**: {' '.join((one.__doc__ or '').split())}" for name, one in told.items())


def _stopped(of: Sequence[Record], gate: str) -> str:
    count = sum(gates(record.judged)[gate] for record in of)
    return f"{count} of {len(of)}" + (f" ({count / len(of):.0%})" if of else "")


def _passes(record: Record) -> bool:
    return not gates(record.judged)["all"]


def _list(found: Iterable[Record]) -> str:
    lines = [
        ": ".join([f"- `{each.item.id}`", *(_describe_stop(each, name) for name in sorted(each.judged.stops))])
        for each in found
    ]
    return "\n".join(lines) or "None."


def _describe_stop(record: Record, name: str) -> str:
    """Name what stops an item, with what it measured and what it held that against."""
    result = record.judged.results.get(name)
    return f"`{name}`, {'; '.join(result.detail.split('; ')[:2])}" if result and result.detail else f"`{name}`"


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _table(rows: Sequence[Sequence[str]], *, numbers: bool = True) -> str:
    line = "---:|" if numbers else "---|"
    told = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([told[0], f"|---|{line * (len(rows[0]) - 1)}", *told[1:]])
