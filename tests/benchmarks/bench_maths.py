"""What `diff`, `merge` and `extract` compute: `python tests/benchmarks/bench_maths.py`.

LoRAs of rank 64 of all layers' matrices of a 7 B Llama are compared: versions of one training, and of
two. Four LoRAs, and four full fine-tunes, are merged over a base of 1 GB (float32) into new weights,
and LoRAs are extracted from a fine-tune of it. Numbers are drawn; nothing goes over a network and
nothing is pushed. Every row is a process of its own: its processor time on one thread, the time on the
clock, and the most memory that was its own and that it had mapped of its files, looked at every 20 ms.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.client.folders.merged_files import write_weights
from deltareg.client.progress import SILENT
from deltareg.delta.accounting import account, recognise
from deltareg.delta.compare import weight_differences
from deltareg.delta.extraction.extraction import Extraction
from deltareg.delta.extraction.truncation import RankChoice
from deltareg.delta.kind import WeightUpdate
from deltareg.delta.maths.updates import Factor, LowRank
from deltareg.delta.merge.method import MergeSettings, ValueMethod
from deltareg.delta.merge.methods import method_named
from deltareg.delta.merge.sides import Parent
from deltareg.delta.merge.weights import ValueMerging
from tests.benchmarks import page
from tests.delta.test_fold import Held

_7B = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008)]
_WIDTH, _INNER, _LAYERS, _WORDS, _RANK = 1024, 2816, 16, 32000, 16
_LAYER = {
    **{f"self_attn.{n}_proj": (_WIDTH, _WIDTH) for n in "qkvo"},
    **{f"mlp.{n}_proj": (_INNER, _WIDTH) for n in ("gate", "up")},
    "mlp.down_proj": (_WIDTH, _INNER),
}
_CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": _WIDTH,
    "intermediate_size": _INNER,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "vocab_size": _WORDS,
    "tie_word_embeddings": False,
}
_WEIGHTS = (0.4, 0.3, 0.2, 0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="the rows whose name has this")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each row; the middle one is told")
    parser.add_argument("--folder", type=Path, help="where the base and its deltas are made, or were")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    page.add_option(parser)
    options = parser.parse_args()
    if options.row:
        print(json.dumps(ROWS[options.row](options.folder)))
        return
    with tempfile.TemporaryDirectory(prefix="deltareg-maths-") as made:
        folder = options.folder or Path(made)
        lines = [f"{'':<46}{'CPU s':>8}{'spread':>14}{'wall s':>8}{'own MB':>8}{'RSS MB':>8}"]
        for row in (name for name in ROWS if options.only in name):
            if "diff" not in row:
                prepare(folder)
            lines.append(tell(row, [in_process(row, folder) for _ in range(options.repeat)]))
            print(lines[-1], flush=True)
    page.write_docs(options, "maths", "\n".join(lines))


def in_process(row, folder):
    command = [sys.executable, __file__, "--row", row, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def tell(row, runs):
    runs = sorted(runs, key=lambda run: run["cpu"])
    middle = runs[len(runs) // 2]
    spread = f"{runs[0]['cpu']:.1f} to {runs[-1]['cpu']:.1f}"
    figures = f"{middle['cpu']:>8.1f}{spread:>14}{middle['wall']:>8.1f}{middle['own']:>8.0f}{middle['rss']:>8.0f}"
    return f"{row:<46}{figures}"


@contextmanager
def measured(found):
    """Measure a block, once everything is open."""
    is_over = threading.Event()
    peaks = {"own": 0.0, "rss": 0.0}

    def watch():
        while not is_over.wait(0.02):
            told = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
            for name, field in (("own", "RssAnon"), ("rss", "VmRSS")):
                peaks[name] = max(peaks[name], int(told[field].split()[0]) / 1e3)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, used = time.perf_counter(), time.process_time()
    yield
    found |= {"cpu": time.process_time() - used, "wall": time.perf_counter() - began}
    is_over.set()
    watcher.join()
    found |= peaks


def diff(step: np.float32) -> dict:
    """Compare LoRAs of 224 modules that differ by `step`."""
    random = np.random.default_rng(1)

    def drawn(*shape):
        return random.standard_normal(shape, np.float32) * np.float32(0.02)

    sides: tuple[list, list] = ([], [])
    for number, (height, width) in enumerate(_7B * 32):
        left, right = drawn(height, 64), drawn(64, width)
        factors = [(left, right), (left + step * drawn(height, 64), right + step * drawn(64, width))]
        for side, (tall, wide) in zip(sides, factors, strict=True):
            side.append(WeightUpdate(f"{number}", LowRank(Factor(Held(tall)), Factor(Held(wide)), 0.125), {}))
    found: dict = {}
    with measured(found):
        assert len(list(weight_differences(sides[0], sides[1], None))) == len(_7B) * 32
    return found


def merge(folder: Path, deltas: list, method: str) -> dict:
    found: dict = {}
    by_values = method_named(method)
    assert isinstance(by_values, ValueMethod)
    with ExitStack() as stack:
        base, opened, parents = parents_of(stack, folder, deltas)
        merging = ValueMerging(parents, base.tensors, method=by_values, settings=MergeSettings())
        base.folder.release_pages()  # it was hashed
        with tempfile.TemporaryDirectory(dir=folder) as made, measured(found):
            write_weights(merging, Path(made), base.view, opened, SILENT, base=base.folder)
    return found


def extract(folder: Path, choice: RankChoice) -> dict:
    """Extract the factors of two layers and of the widest matrix."""
    found: dict = {}
    with ExitStack() as stack:
        base, _, [parent] = parents_of(stack, folder, ["tuned-0"])
        with measured(found):
            extraction = Extraction(parent.effects, base.tensors, base.view, choice)
            places = [p for p in extraction.factored if ".0." in p.target or ".1." in p.target or "head" in p.target]
            assert all(extraction.module(place) is not None for place in places)
    return found


def parents_of(stack, folder, deltas):
    base = open_base(folder / "base", Cache(folder / "cache"))
    opened = [stack.enter_context(open_folder(folder / name)) for name in deltas]
    parents = []
    for one, name, weight in zip(opened, deltas, _WEIGHTS, strict=False):
        kind, _ = recognise(one.files, base.view)
        accounted = account(kind.parse(one.files, base.view), one.files, one.tensors, base.view)
        assert accounted.is_accepted, accounted.problems
        parents.append(Parent(name, name, weight, accounted.effects))
    return base, opened, parents


def prepare(folder):
    """Make the base, four LoRAs and four fine-tunes, unless they are there."""
    if (folder / "done").exists():
        return
    random = np.random.default_rng(0)

    def drawn(*shape):
        return random.standard_normal(shape, np.float32) * np.float32(0.02)

    modules = {f"model.layers.{n}.{name}": shape for n in range(_LAYERS) for name, shape in _LAYER.items()}
    base = {f"{name}.weight": drawn(*shape) for name, shape in modules.items()}
    base |= {"model.embed_tokens.weight": drawn(_WORDS, _WIDTH), "lm_head.weight": drawn(_WORDS, _WIDTH)}
    norms = [f"model.layers.{n}.{end}_layernorm.weight" for n in range(_LAYERS) for end in ("input", "post_attention")]
    base |= {name: np.ones(_WIDTH, np.float32) for name in (*norms, "model.norm.weight")}
    save(folder / "base", "model.safetensors", base, "config.json", _CONFIG)
    config = {"peft_type": "LORA", "r": _RANK, "lora_alpha": _RANK, "target_modules": [n.split(".")[1] for n in _LAYER]}
    for number in range(len(_WEIGHTS)):
        factors = {}
        for name, (height, width) in modules.items():
            factors[f"base_model.model.{name}.lora_A.weight"] = drawn(_RANK, width)
            factors[f"base_model.model.{name}.lora_B.weight"] = drawn(height, _RANK)
        save(folder / f"lora-{number}", "adapter_model.safetensors", factors, "adapter_config.json", config)
        tuned = {name: value + np.float32(0.005) * drawn(*value.shape) for name, value in base.items()}
        save(folder / f"tuned-{number}", "model.safetensors", tuned, "config.json", _CONFIG)
    (folder / "done").touch()


def save(folder, weights, tensors, name, document):
    folder.mkdir(parents=True)
    save_file(tensors, folder / weights, {"format": "pt"})
    (folder / name).write_text(json.dumps(document))


_LORAS, _TUNED = ([f"{kind}-{number}" for number in range(len(_WEIGHTS))] for kind in ("lora", "tuned"))
ROWS = {
    "diff of rank 64, 7 B, one training": lambda _: diff(np.float32(0.1)),
    "diff of rank 64, 7 B, two trainings": lambda _: diff(np.float32(2)),
    "merge of 4 LoRAs, 1 GB, linear": lambda folder: merge(folder, _LORAS, "linear"),
    "merge of 4 fine-tunes, 1 GB, linear": lambda folder: merge(folder, _TUNED, "linear"),
    "merge of 4 LoRAs, 1 GB, ties": lambda folder: merge(folder, _LORAS, "ties"),
    "extract at rank 16, 15 modules": lambda folder: extract(folder, RankChoice(1.0, 16)),
    "extract at 0.9 of the energy, 15 modules": lambda folder: extract(folder, RankChoice(0.9, 0)),
}

if __name__ == "__main__":
    main()
