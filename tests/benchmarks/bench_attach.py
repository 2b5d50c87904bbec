"""Merging, attaching and swapping beside peft: `python tests/benchmarks/bench_attach.py`.

A random Llama of 270 million parameters and two LoRA adapters (r=16, all linear layers) lie in a
folder. What this library does and what peft does stand side by side, in turn, on the same files, in
one process with the same threads (OMP_NUM_THREADS). The ratio is peft's time over ours, run by
run: above one, ours is faster. The base is in memory when the clock starts, as in a server.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import peft
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.delta.fold import FoldedBase
from deltareg_verify.engine.torch_engine.attach import Host, open_delta
from deltareg_verify.engine.torch_engine.load import network_of
from deltareg_verify.engine.torch_engine.ops import TorchOps
from deltareg_verify.engine.torch_engine.plan import fold_plan, make_plan
from deltareg_verify.engine.torch_engine.swap import swap_tensors
from tests.benchmarks import page

_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_FORWARDS = 5
_SIZES = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "vocab_size": 32000,
}


@dataclass
class Clock:
    """Seconds of every run, by row and side."""

    seconds: dict = field(default_factory=dict)

    @contextmanager
    def run(self, row, side):
        gc.collect()
        began = time.perf_counter()
        yield
        self.seconds.setdefault(row, {}).setdefault(side, []).append(time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side, in turn")
    parser.add_argument("--layers", type=int, default=_SIZES["num_hidden_layers"])
    page.add_option(parser)
    options = parser.parse_args()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
        text = page.print_blocks([table(Path(folder), options)])
    page.write_docs(options, "attach", text)


def table(folder, options):
    yield f"{torch.get_num_threads()} threads; milliseconds, the least and the median\n"
    yield f"{'':<38}{'peft':>16}{'ours':>16}{'peft/ours':>11}"
    for dtype in ("float32", "bfloat16"):
        yield from measure(folder / dtype, dtype, options)


def measure(folder, dtype, options):
    write_base(folder / "base", dtype, options.layers)
    for name in ("one", "two"):
        write_lora(folder / "base", folder / name)
    clock = Clock()
    for _ in range(options.repeat):
        merge(folder, clock)
        attach(folder, clock)
        swap(folder, clock)
    for row, sides in clock.seconds.items():
        theirs, ours = sides.get("peft", []), sides["ours"]
        ratios = [a / b for a, b in zip(theirs, ours, strict=False)]
        told = f"{statistics.median(ratios):>11.2f}" if ratios else ""
        yield f"{f'{dtype}: {row}':<38}{_times(theirs):>16}{_times(ours):>16}{told}"


def merge(folder, clock):
    """Put one LoRA into every weight: peft in the model, ours into new weights, and on NumPy."""
    adapted = peft.PeftModel.from_pretrained(load(folder / "base"), folder / "one")
    with clock.run("merge, torch", "peft"):
        merged = adapted.merge_and_unload()
    with opened(folder) as (base, deltas):
        effects, ops = deltas[0].effects, TorchOps(torch.device("cpu"))
        model = load(folder / "base")
        network = network_of(model, base.view)
        with clock.run("merge, torch", "ours"):
            names = base.view.names
            plan = make_plan(network, effects, tensors=base.tensors, names=names, ops=ops)
            values = fold_plan(plan, network, tensors=base.tensors, ops=ops)
        with swap_tensors(model, values):
            check_same(merged, model)
        del values, merged, adapted
        again = peft.PeftModel.from_pretrained(load(folder / "base"), folder / "one")
        with clock.run("merge, NumPy", "peft"):
            again.merge_and_unload()
        folding = FoldedBase(effects, base.tensors)
        with clock.run("merge, NumPy", "ours"):
            written = sum(len(rows) for name in folding.changed for rows in folding.rows(name))
        assert written == sum(p.nbytes for p in map(model.get_parameter, plan.chains))


def attach(folder, clock):
    """From a delta in a folder to the first logits."""
    model = load(folder / "base")
    with clock.run("attach, first forward", "peft"):
        forward(peft.PeftModel.from_pretrained(model, folder / "one").eval())
    model = load(folder / "base")
    with opened(folder) as (base, _):
        with clock.run("once a model: compare with the base", "ours"):
            host = Host(model, base)
        with clock.run("attach, first forward", "ours"):
            delta = open_delta(folder / "one", base)
            with host.attach(host.prepare([delta])):
                forward(model)


def swap(folder, clock):
    """Another LoRA in the place of one, both ready; then forwards of both sides, in turn."""
    theirs = peft.PeftModel.from_pretrained(load(folder / "base"), folder / "one", "one").eval()
    theirs.load_adapter(folder / "two", "two")
    model = load(folder / "base")
    with opened(folder) as (base, deltas):
        host = Host(model, base)
        one, two = (host.prepare([delta]) for delta in deltas)
        with host.attach(one) as attached:
            with clock.run("swap", "peft"):
                theirs.set_adapter("two")
            with clock.run("swap", "ours"):
                attached.swap(two)
            assert torch.equal(forward(theirs), forward(model))
            for _ in range(_FORWARDS):
                with clock.run("forward with it", "peft"):
                    forward(theirs)
                with clock.run("forward with it", "ours"):
                    forward(model)


def check_same(merged, model):
    """Make sure that both have made the same weight, to the rounding of its type."""
    for name in ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"):
        a, b = (m.get_submodule(name).weight.float() for m in (merged, model))
        size = 2e-2 if model.dtype == torch.bfloat16 else 1e-5
        assert (a - b).abs().max() <= size * a.abs().max(), name


@contextmanager
def opened(folder):
    with open_base(folder / "base", Cache(folder / "cache")) as base:
        yield base, [open_delta(folder / name, base) for name in ("one", "two")]


def load(path):
    """Load the base."""
    return transformers.LlamaForCausalLM.from_pretrained(path, dtype="auto").eval()


def forward(model):
    with torch.no_grad():
        return model(input_ids=torch.arange(16)[None], use_cache=False).logits


def write_base(path, dtype, layers):
    torch.manual_seed(5)
    config = transformers.LlamaConfig(**_SIZES | {"num_hidden_layers": layers})
    model = transformers.LlamaForCausalLM(config).to(getattr(torch, dtype))
    model.save_pretrained(path)


def write_lora(base, path):
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules=_LINEAR, init_lora_weights=False
    )
    peft.get_peft_model(load(base), config).save_pretrained(path)


def _times(seconds):
    if not seconds:
        return ""
    return f"{1e3 * min(seconds):.1f} / {1e3 * statistics.median(seconds):.1f}"


if __name__ == "__main__":
    main()
