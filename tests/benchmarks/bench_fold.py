"""Folding a LoRA and a full delta into a large base: `python tests/benchmarks/bench_fold.py`.

A bf16 base in shards, a LoRA (r=16, all linear layers) and a full fine-tune are made from seeds and
folded by what `deltareg materialize` runs, each in a process of its own. Every fold stands beside
`cp -r` of the files that it replaces, in turn with it, on the same disk; both start with none of it
in memory and end when the disk has all of it. "CPU s" is the work of all threads, the kernel's for
them included: on a busy machine it tells more than the clock. Memory is the most anonymous memory
of the process (mapped files, which the kernel may drop at any time, are not in it). Afterwards some
tensors are computed again, whole, and compared bit for bit.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.client.cache.cache import Cache
from deltareg.client.fold.fold_folder import fold_folder
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from tests.benchmarks import llama_files, page  # only now the tests can be imported
from tests.faults.big import peak_memory
from tests.faults.measured import MB, copy_seconds

_SAMPLED = (*llama_files.LINEAR, "input_layernorm", "embed_tokens", "model.norm", "lm_head")


@dataclass(frozen=True)
class Done:
    """What one child took."""

    seconds: float
    core_s: float
    peak_bytes: int


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=8.0, help="size of the base")
    parser.add_argument("--repeat", type=int, default=2, help="the best of so many runs counts")
    parser.add_argument("--scratch", type=Path, help="a folder on the disk to be measured")
    page.add_option(parser)
    parser.add_argument("--child", nargs=4, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return fold_once(*options.child)
    folder = Path(tempfile.mkdtemp(prefix="deltareg-bench-", dir=options.scratch))
    shape = llama_files.Shape.of_size(int(options.gigabytes * 1e9))
    try:
        if shutil.disk_usage(folder).free < 3.2 * shape.size_bytes:
            print(f"bench_fold: needs {3.2 * shape.size_bytes / 1e9:.0f} GB of disk; not measured")
            return None
        text = page.print_blocks([measure(folder, shape, options.repeat)])
    finally:
        shutil.rmtree(folder)
    page.write_docs(options, "fold", text)
    return None


def measure(folder, shape, repeat):
    base = llama_files.write_base(folder / "base", shape)
    lora = llama_files.write_lora(folder / "lora", shape)
    seen = run(folder, base, lora, "fingerprint")
    files = len(list(base.glob("*.safetensors")))
    yield f"base of {shape.size_bytes / 1e9:.1f} GB in {files} files, {shape.layers} layers\n"
    yield f"{'':<12}{'s':>7}{'MB/s':>7}{'CPU s':>8}{'cp s':>8}{'cp MB/s':>9}{'to cp':>7}{'peak MB':>9}{'bit-equal':>11}"
    rate = shape.size_bytes / MB / seen.seconds
    yield f"{'fingerprint':<12}{seen.seconds:>7.1f}{rate:>7.0f}{seen.core_s:>8.1f}{'':>24}{seen.peak_bytes / MB:>9.0f}"
    yield report("LoRA", folder, shape, lora, repeat)
    tuned = llama_files.write_tuned(folder / "tuned", shape)
    yield report("full delta", folder, shape, tuned, repeat)


def report(name, folder, shape, delta, repeat):
    base, out = folder / "base", folder / "out"
    source = base if name == "LoRA" else delta
    folds, copies = [], []
    for _ in range(repeat):
        shutil.rmtree(out, ignore_errors=True)
        forget(base, delta)
        copies.append(copy_seconds(source, folder / "copy"))
        shutil.rmtree(folder / "copy")
        forget(base, delta)
        folds.append(run(folder, base, delta, "fold"))
    same = compare(shape, base, delta, out)
    shutil.rmtree(out)
    best, copied_s = min(folds, key=lambda fold: fold.seconds), min(copies)
    ratio = statistics.median(f.seconds / c for f, c in zip(folds, copies, strict=True))
    size, peak = shape.size_bytes / MB, max(fold.peak_bytes for fold in folds) / MB
    return (
        f"{name:<12}{best.seconds:>7.1f}{size / best.seconds:>7.0f}{best.core_s:>8.1f}"
        f"{copied_s:>8.1f}{size / copied_s:>9.0f}{ratio:>7.2f}{peak:>9.0f}{same:>11}"
    )


def run(folder, base, delta, what):
    """Run this file as a child, with what the command line sets."""
    arguments = ["--child", base, delta, folder / what, folder / "cache"]
    child = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={"OPENBLAS_THREAD_TIMEOUT": "4", **os.environ},
    )
    with peak_memory(child.pid) as peak:
        output, _ = child.communicate()
    if child.returncode:
        raise SystemExit("the fold failed")
    seconds, core_s = json.loads(output)
    return Done(seconds, core_s, peak[0])


def fold_once(base, delta, out, cache):
    """Open both folders and fold; without a base seen before this fingerprints it, no more."""
    began, worked = time.monotonic(), time.process_time()
    with open_base(base, Cache(cache)) as opened, open_folder(delta) as change:
        if out.name == "fold":
            fold_folder(opened, change, out.with_name("out"))
    print(json.dumps([time.monotonic() - began, time.process_time() - worked]))


def forget(*folders):
    """Let the kernel drop what it holds of some files, so that all start from the disk."""
    for folder in folders:
        for path in folder.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare(shape, base, delta, out):
    """Compute sampled tensors whole and compare every bit; says how many are the same."""
    names = [n for n in shape.tensors() if n.removesuffix(".weight").endswith(_SAMPLED)]
    chosen = [n for n in names if ".layers." not in n or f".{shape.layers - 1}." in n]
    equal = sum(np.array_equal(llama_files.read(out, name), expected(base, delta, name)) for name in chosen)
    return f"{equal} of {len(chosen)}"


def expected(base, delta, name):
    """Apply the recipe to a whole tensor: float32, W + s·(B·A), rounded once to nearest even."""
    if delta.name == "tuned":
        return llama_files.read(delta, name)
    weight = llama_files.read(base, name)
    module = name.removesuffix(".weight")
    if not module.endswith(llama_files.LINEAR):
        return weight
    a, b = (llama_files.read(delta, f"base_model.model.{module}.lora_{side}.weight") for side in "AB")
    wide = (weight.astype("<u4") << 16).view("<f4")
    bits = (wide + (b @ a) * np.float32(llama_files.ALPHA / llama_files.RANK)).view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


if __name__ == "__main__":
    sys.exit(main())
