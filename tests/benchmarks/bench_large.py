"""A base larger than its worker's memory: `python tests/benchmarks/bench_large.py`.

A bf16 base, a LoRA on all of its linear layers and a full fine-tune are made from seeds and
verified by a suite in a fresh child of a warm zygote, as a worker does it: once with all the memory
there is, then with a budget of a part of it. "private" is the most anonymous memory of the child,
polled all the time; "files" are pages of mapped files, which the kernel may drop whenever it needs
room. What stands before a run, bringing the version and its base, is not in it.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.errors import Inconclusive
from deltareg.suites.suite import built_in, parse_suite
from deltareg_verify.messages.report import listen
from deltareg_verify.sandbox.zygote import Zygote
from tests.benchmarks import llama_files, page
from tests.process_table import processes_below
from tests.verify.assigned import lay_out

MB = 1_000_000
_EVERY_S = 0.05
_WALL_S = 1800.0
_VOCABULARY, _HIDDEN = 32000, 2048


@dataclass(frozen=True)
class Run:
    """What one verification took."""

    what: str
    dtype: str
    budget_bytes: int
    weights: str
    seconds: float
    private_bytes: int
    file_bytes: int
    outcome: str


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=4.0, help="size of the base")
    parser.add_argument("--budget", type=int, default=1000, help="megabytes of the smaller worker")
    parser.add_argument("--quick", action="store_true", dest="is_quick", help="a probe of 8 tokens, 2 generated")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--scratch", type=Path, help="a folder with room for three times the base")
    page.add_option(parser)
    options = parser.parse_args()
    options.suite = "smoke"
    folder = Path(tempfile.mkdtemp(prefix="deltareg-bench-", dir=options.scratch))
    try:
        shape = shape_of(options.gigabytes)
        if shutil.disk_usage(folder).free < 2.5 * shape.size_bytes:
            print(f"bench_large: needs {2.5 * shape.size_bytes / 1e9:.0f} GB of disk; not measured")
            return
        rows = [heading(shape, options)]
        print(rows[0], flush=True)
        for run in measure(folder, laid_out(folder, shape, options.budget * MB, options)):
            rows.append(line(run))
            print(rows[-1], flush=True)
    finally:
        shutil.rmtree(folder)
    page.write_docs(options, "large", "\n".join(rows))


def shape_of(gigabytes, *, hidden=_HIDDEN):
    """Give a Llama of about this size, of which no weight is a large part."""
    sizes = {"hidden": hidden, "inner": 4 * hidden, "heads": hidden // 64, "key_heads": 8}
    one, two = (llama_files.Shape(layers, **sizes).size_bytes for layers in (1, 2))
    layers = max(1, 1 + round((gigabytes * 1e9 - one) / (two - one)))
    return llama_files.Shape(layers, **sizes, vocabulary=_VOCABULARY)


def measure(folder, assignments):
    """Verify one after the other; each is what it is called and its assignment."""
    with Zygote(folder, environment={}) as zygote:
        for what, assignment in assignments:
            yield verify(zygote, what, assignment)


def start_bytes(folder):
    """Give what a child holds before it has loaded anything, as the bound on its memory counts."""
    request = {"device": "cpu", "scratch": str(folder)}
    with Zygote(folder, environment={}) as zygote:
        zygote.run(b"describe " + json.dumps(request).encode(), wall_s=60)
        return memory_of(zygote.pid)["VmData"]


def laid_out(folder, shape, budget_bytes, options):
    """Write base and deltas; gives each without and with a bound, the LoRA in float32 as well."""
    base = llama_files.write_base(folder / "base", shape)
    for what, write in (("LoRA", llama_files.write_lora), ("full", llama_files.write_tuned)):
        place = folder / what
        place.mkdir()
        found = lay_out(place, base, write(folder / f"{what}-delta", shape), device=options.device)
        kept = replace(found, suite=suite_file(place, "keep", options))
        bounded = replace(kept, memory_bytes=budget_bytes)
        yield what, kept
        yield what, bounded
        if what == "LoRA":
            yield what, replace(bounded, suite=suite_file(place, "f32", options))


def suite_file(place, dtype, options):
    """Write the smoke suite with a dtype to compute in, whatever the base is stored in."""
    document = json.loads(built_in("smoke").document) | {"dtype": dtype}
    if options.is_quick:
        document["probe"] = {"sequences": 1, "tokens": 8}
        greedy = next(one for one in document["checks"] if one["check"] == "deterministic")
        greedy["parameters"] = {"new_tokens": 2}
    text = json.dumps(document)
    suite = parse_suite(text.encode())
    assert (suite.dtype, suite.probes["tokens"]) == (dtype, 8 if options.is_quick else 24)
    path = place / f"{dtype}.json"
    path.write_text(text)
    return path


def verify(zygote, what, assignment):
    zygote.run(b"describe " + _about(assignment), wall_s=60)  # the first start imports libraries
    began = time.perf_counter()
    report, outcome = None, ""
    with watched(zygote.pid) as peak:
        try:
            report = listen(zygote.run(b"verify " + assignment.encode(), wall_s=_WALL_S))
        except Inconclusive as error:
            outcome = error.message
    seconds = time.perf_counter() - began
    weights, dtype = "-", "-"
    if report is not None:
        weights, dtype = report.surroundings.environment["weights"], report.surroundings.dtype
        failed = [one.name for one in report.checks if one.verdict not in {"pass", "n/a"}]
        outcome = f"not passed: {', '.join(failed)}" if failed else "pass"
    return Run(what, dtype, assignment.memory_bytes, weights, seconds, peak.private, peak.files, outcome)


def _about(assignment):
    return json.dumps({"device": assignment.device, "scratch": str(assignment.scratch)}).encode()


@contextmanager
def watched(pid):
    """Watch what the descendants of a process take; gives the most of any of them, in bytes."""
    peak, stop = SimpleNamespace(private=0, files=0), threading.Event()

    def watch():
        while not stop.wait(_EVERY_S):
            for child in processes_below(pid):
                found = memory_of(child)
                peak.private = max(peak.private, found.get("RssAnon", 0))
                peak.files = max(peak.files, found.get("RssFile", 0))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def memory_of(pid):
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    rows = (line.split() for line in lines if line.startswith(("Rss", "VmData")))
    return {row[0].rstrip(":"): int(row[1]) * 1024 for row in rows}


def heading(shape, options):
    suite = "smoke with a short probe" if options.is_quick else "smoke"
    return (
        f"{suite}, base of {shape.size_bytes / 1e9:.1f} GB, {shape.layers} layers; megabytes\n\n"
        f"{'':<6}{'runs in':>9}{'budget':>9}{'weights':>10}{'s':>8}{'private':>9}{'files':>8}"
        "  outcome"
    )


def line(run):
    budget = f"{run.budget_bytes / MB:.0f}" if run.budget_bytes else "none"
    return (
        f"{run.what:<6}{run.dtype:>9}{budget:>9}{run.weights:>10}{run.seconds:>8.1f}"
        f"{run.private_bytes / MB:>9.0f}{run.file_bytes / MB:>8.0f}  {run.outcome}"
    )


if __name__ == "__main__":
    main()
