"""How far from the libraries: `python tests/benchmarks/bench_exactness.py`.

Every real delta is folded and attached by this library, and what comes out stands beside what the
library that made it had stored: its merged weights, its logits. One row for a kind on a base, with
the largest absolute difference. The deltas are those of the corpus beside the repository where
there is one, otherwise the samples in the repository. No library that makes deltas is imported;
pickles are converted first.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg import Client
from deltareg.client.config import ClientConfig
from deltareg.delta.fold import FoldedBase
from deltareg.errors import Refused
from tests import corpus
from tests.benchmarks import page
from tests.verify.bench import SAMPLES, Bench, convention_of, read_arrays, sample_base
from tests.verify.oracles import attached_logits, library_logits

MAKERS = ("peft", "adapters")


@dataclass
class Row:
    """A kind on a base: the largest difference of every weight, and of every delta's logits."""

    deltas: int = 0
    weights: list = field(default_factory=list)
    logits: list = field(default_factory=list)


@dataclass
class Table:
    """What was found; a conflict is where a library disagrees with itself."""

    rows: dict = field(default_factory=dict)
    refused: dict = field(default_factory=dict)
    conflicts: list = field(default_factory=list)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    page.add_option(parser)
    options = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    table = Table()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for delta_id, delta in _corpus() if corpus.has_corpus() else _samples():
            try:
                bench = _open(delta, folder)
            except Refused as refused:
                table.refused[delta_id] = refused.problems[0].message
                continue
            row = table.rows.setdefault((_kind(bench), delta["base"], _dtype(bench)), Row())
            row.deltas += 1
            weights, logits = delta["errors"](bench)
            if delta.get("oracle_conflict"):
                table.conflicts.append((delta_id, delta["oracle_conflict"], logits))
            else:
                row.weights += weights
                row.logits += logits
    assert not {name for name in sys.modules if name.partition(".")[0] in MAKERS}
    page.write_docs(options, "exactness", page.print_blocks([_lines(table)]))


def _corpus():
    """Give the deltas of the corpus, by name."""
    for delta in corpus.manifest()["deltas"]:
        path = corpus.CORPUS / delta["path"]
        convention = "additive" if delta.get("format") == "additive" else ""
        base = corpus.base_folder(delta["base"])

        def errors(bench, delta=delta):
            told = delta.get("expected") and not delta.get("oracle_conflict")
            merged = corpus.merged(delta) if told else {}
            logits = library_logits(delta)
            found = [] if logits is None else [_worst(attached_logits(bench, delta), logits)]
            return _folded(bench, merged), found

        yield delta["id"], {**delta, "folder": path, "on": base, "of": convention, "errors": errors}


def _samples():
    """Give the samples in the repository, by name."""
    inputs = {"input_ids": read_arrays(SAMPLES / "probes.safetensors")["input_ids"]}
    entries = [
        (e["id"], e["base"], SAMPLES / e["path"], SAMPLES / e["expected"])
        for e in json.loads((SAMPLES / "manifest.json").read_text())["deltas"]
    ]
    kinds = SAMPLES / "kinds"
    entries += [
        (e["id"], e["base"], kinds / e["id"] / "delta", kinds / e["id"] / "expected.safetensors")
        for e in json.loads((kinds / "manifest.json").read_text())
    ]
    for delta_id, base, path, expected in entries:

        def errors(bench, expected=expected):
            held, names = read_arrays(expected), bench.base.view.names
            merged = {
                names.tensor(name.removeprefix("merged::")): value
                for name, value in held.items()
                if name.startswith("merged::")
            }
            found = bench.engine().outputs_for("attached", inputs)["logits"][:, -2:]
            return _folded(bench, merged), [_worst(found, held["logits_attached"])]

        convention = convention_of(path)
        on = sample_base(base)
        yield delta_id, {"base": base, "folder": path, "on": on, "of": convention, "errors": errors}


def _open(delta, scratch):
    """Open a delta, from safetensors made of its pickle where it has nothing else."""
    try:
        return Bench(delta["folder"], delta["on"], scratch / "cache", convention=delta["of"])
    except Refused as refused:
        if not {problem.code for problem in refused.problems} <= {"pickle", "ambiguous"}:
            raise
    target = Path(tempfile.mkdtemp(dir=scratch)) / "converted"
    with Client(ClientConfig(cache_dir=scratch / "cache")) as client:
        client.folders.convert(delta["folder"], target)
    return Bench(target, delta["on"], scratch / "cache", convention=delta["of"])


def _kind(bench):
    delta = bench.assessment.account.delta
    return f"{delta.name} {delta.variant}".strip()


def _dtype(bench):
    """Give what a library computes in: bfloat16 where the base or the delta is."""
    tensors = [*bench.base.view.tensors.values(), *bench.folder.tensors.values()]
    return "bfloat16" if any(tensor.dtype == "BF16" for tensor in tensors) else "float32"


def _folded(bench, merged):
    """Give the error of every weight that the library merged."""
    account = bench.assessment.account
    if not account.delta.foldable:
        return []
    folding = FoldedBase(account.effects, bench.base.tensors)
    return [_worst(corpus.folded(folding, name), want) for name, want in merged.items()]


def _worst(found, expected):
    assert found.shape == expected.shape
    return float(np.max(np.abs(np.float64(found) - expected), initial=0))


def _lines(table):
    titles = f"{'deltas':>6} {'weights':>9} {'logits':>9}"
    yield f"{'kind':<24} {'base':<15} {'computed in':<12} {titles}"
    for (kind, base, dtype), row in sorted(table.rows.items()):
        errors = f"{_told(row.weights):>9} {_told(row.logits):>9}"
        yield f"{kind:<24} {base:<15} {dtype:<12} {row.deltas:>6} {errors}"
    for dtype in ("float32", "bfloat16"):
        rows = [row for key, row in table.rows.items() if key[2] == dtype]
        weights = [error for row in rows for error in row.weights]
        logits = [error for row in rows for error in row.logits]
        errors = f"{_told(weights):>9} {_told(logits):>9}"
        yield f"{'worst':<40} {dtype:<12} {sum(row.deltas for row in rows):>6} {errors}"
        yield f"    of {len(weights)} weights and the logits of {len(logits)} deltas"
    for delta_id, why, logits in table.conflicts:
        yield f"\n{delta_id}: {why}; here, the logits differ by {_told(logits)}"
    for delta_id, why in table.refused.items():
        yield f"\n{delta_id} is refused: {why.partition('; the kinds known here')[0]}"


def _told(errors):
    return f"{max(errors):.1e}" if errors else "-"


if __name__ == "__main__":
    main()
