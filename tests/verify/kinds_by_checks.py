"""`python -m tests.verify.kinds_by_checks`: write `docs/kinds-by-checks.md`, which check looks at which kind.

    python -m tests.verify.kinds_by_checks             # on the samples of this tree
    python -m tests.verify.kinds_by_checks FOLDER      # and those of a folder with a manifest.json

Every sample is one that its own library trained and saved. It goes through each check of smoke by itself,
so that no failure hides another. Some minutes on one core.
"""

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deltareg.delta.kinds import all_kinds
from deltareg.delta.traits import traits_of
from deltareg.errors import Refused
from deltareg_verify.judging.checks import all_checks
from tests.architecture.tree import REPOSITORY
from tests.small_networks import quiet
from tests.verify.bench import SAMPLES, SMOKE, Bench, convention_of

PAGE = REPOSITORY / "docs" / "kinds-by-checks.md"
CHECKS = (
    "norm_ratio",
    "rows",
    "placement",
    "cut_values",
    "descent",
    "idle",
    "module_types",
    "spectral",
    "attached_equals_folded",
    "reloads",
    "library_agrees",
)
"""Those that do not look at every kind."""
INTRODUCTION = """\
# Kinds by checks

Written by `python -m tests.verify.kinds_by_checks`; do not edit by hand.

Which checks of the suite `smoke` look at a kind, as measured on healthy deltas that the kind's own library made:
no check of smoke failed one. ● looks at it, · finds nothing to look at (`n/a` in a verdict), ○ warns: where the
adapters library or diffusers would have to be asked and was not there, say. An empty row is a kind of which this
tree has no sample. `placement` looks for tensors that are stored twice in every kind. The other checks of smoke look
at every kind. A kind declares in its own file what is usual for it and would be a fault of others
(`deltareg.delta.traits`); checks ask that and name no kind.
"""


@dataclass(frozen=True, slots=True)
class HealthySample:
    """A delta that its library made.

    Attributes:
        name: Its name, for messages.
        path: Its folder.
        base: The folder of its base.
        convention: What its values are, where its names do not tell.
    """

    name: str
    path: Path
    base: Path
    convention: str = ""

    def open(self, cache: Path) -> Bench | None:
        """Open it; None where the registry does not read it and says so."""
        try:
            bench = Bench(self.path, self.base, cache, convention=self.convention)
        except Refused:
            return None
        return bench if bench.account.is_accepted else None


def own_samples() -> Iterator[HealthySample]:
    """Yield the samples of this tree."""
    for entry in json.loads((SAMPLES / "manifest.json").read_text())["deltas"]:
        path = SAMPLES / entry["path"]
        yield HealthySample(entry["id"], path, SAMPLES / "bases" / entry["base"], convention_of(path))
    for entry in json.loads((SAMPLES / "kinds" / "manifest.json").read_text()):
        yield HealthySample(entry["id"], SAMPLES / "kinds" / entry["id"] / "delta", SAMPLES / "bases" / entry["base"])


def samples_of(folder: Path) -> Iterator[HealthySample]:
    """Yield those of a folder that are healthy: whose bases are there, and that the gate must pass."""
    for entry in json.loads((folder / "manifest.json").read_text())["deltas"]:
        base = folder / "bases" / entry["base"]
        if base.is_dir() and entry.get("expect_verify") == "pass" and entry["id"] not in COLLAPSED:
            convention = "additive" if entry.get("format") == "additive" else ""
            yield HealthySample(entry["id"], folder / entry["path"], base, convention)


COLLAPSED = frozenset({"tinyclip/x_par_bn"})
"""By its library's own outputs: those of different inputs lie twelve times closer than the base's."""


def verdicts_of(bench: Bench) -> dict[str, str]:
    """Run each required check of smoke by itself; gives the verdict and, of a failure, why."""
    case = bench.case()
    checks = all_checks()
    with quiet():
        found = {spec.name: checks[spec.check].run(case, spec) for spec in SMOKE.checks if spec.required}
    return {name: one.verdict if one.verdict != "fail" else f"fail: {one.detail}" for name, one in found.items()}


def layout_of(bench: Bench) -> str:
    """Name the reader that a delta was read by."""
    files, view = bench.folder.files, bench.base.view
    matches = [(match.strength, kind.layout) for kind in all_kinds().values() if (match := kind.recognise(files, view))]
    return max(matches)[1]


def measure(samples: Iterable[HealthySample], cache: Path) -> dict[str, dict[str, set[str]]]:
    """Return layout -> check -> verdicts that its samples got."""
    found: dict[str, dict[str, set[str]]] = {}
    for sample in samples:
        bench = sample.open(cache)
        if bench is None:
            continue
        verdicts = verdicts_of(bench)
        print(sample.name, [f"{n} {v}" for n, v in verdicts.items() if v.startswith("fail")], flush=True)
        row = found.setdefault(layout_of(bench), {})
        for name, verdict in verdicts.items():
            row.setdefault(name, set()).add(verdict.partition(":")[0])
    return found


def generate(found: Mapping[str, Mapping[str, set[str]]]) -> str:
    """Write the page."""
    head = ["layout", *CHECKS, "usual for it"]
    rows = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for layout, kind in sorted(all_kinds().items()):
        cells = [_cell(found.get(layout, {}).get(name)) for name in CHECKS]
        rows.append(f"| {' | '.join([layout, *cells, '; '.join(traits_of(kind).describe())])} |")
    return "\n".join([INTRODUCTION, *rows, ""])


def _cell(verdicts: set[str] | None) -> str:
    if verdicts is None:
        return ""
    if verdicts & {"pass", "fail"}:
        return "●"
    return "○" if verdicts & {"warn", "skipped"} else "·"


def main() -> None:
    """Measure, and write the page."""
    samples = [*own_samples(), *(one for folder in sys.argv[1:] for one in samples_of(Path(folder)))]
    with tempfile.TemporaryDirectory() as cache:
        found = measure(samples, Path(cache))
    failed = [(layout, name) for layout, row in found.items() for name, verdicts in row.items() if "fail" in verdicts]
    PAGE.write_text(generate(found))
    print(f"{PAGE}: {len(samples)} samples of {len(found)} layouts; failed: {failed}")


if __name__ == "__main__":
    main()
