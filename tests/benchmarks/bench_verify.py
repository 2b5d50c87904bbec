"""How long a verification takes in a warm worker: `python tests/benchmarks/bench_verify.py`.

The smoke suite runs over LoRAs of bases of two sizes, each time in a fresh child of a warm zygote,
as a worker does it: fork, sandbox, checks, report. What stands before that, bringing the version
and its base, is not in it. The base is measured on its general probes once, before all runs, as it
is for all versions that wait on it. The table gives the middle of the runs by check, the whole run,
the processor time of it, and what measuring the base took.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import peft
import tokenizers
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[2]))

from deltareg_verify.messages.report import listen
from deltareg_verify.sandbox.zygote import Zygote
from tests.benchmarks import page
from tests.verify.assigned import WALL_S, lay_out, with_figures
from tests.verify.bench import SAMPLES

_SIZES = {"tinyllama (sample)": None, "Llama, 270 M, F32": torch.float32, "Llama, 270 M, BF16": torch.bfloat16}
LLAMA = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "vocab_size": 32000,
}


@dataclass
class Times:
    """Seconds of every run, whole and by check."""

    whole: list = field(default_factory=list)
    processor: list = field(default_factory=list)
    base: float = 0.0
    checks: dict = field(default_factory=dict)
    verdicts: dict = field(default_factory=dict)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="the bases whose name has this")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each set")
    parser.add_argument("--suite", default="smoke")
    parser.add_argument("--device", default="cpu")
    page.add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            name: measure(Path(folder) / str(number), dtype, options)
            for number, (name, dtype) in enumerate(_SIZES.items())
            if options.only in name
        }
    text = table(found, options)
    print(text)
    page.write_docs(options, "verify", text)


def measure(folder, dtype, options):
    folder.mkdir()
    base, delta = sample() if dtype is None else made(folder, dtype)
    assignment = lay_out(folder, base, delta, suite=options.suite, device=options.device)
    times = Times()
    with Zygote(folder, environment={}) as zygote:
        began = time.perf_counter()
        assignment = with_figures(zygote, assignment)
        times.base = time.perf_counter() - began
        for number in range(options.repeat + 1):
            began, used = time.perf_counter(), processor_s(zygote)
            said = zygote.run(b"verify " + assignment.encode(), wall_s=WALL_S)
            took = time.perf_counter() - began
            if number:  # the first run also starts the zygote
                times.whole.append(took)
                times.processor.append(processor_s(zygote) - used)
                for check in listen(said).checks:
                    times.checks.setdefault(check.name, []).append(check.seconds)
                    times.verdicts[check.name] = check.verdict
    return times


def processor_s(zygote):
    """Give the processor time of all children that have ended."""
    fields = Path(f"/proc/{zygote.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")


def sample():
    return SAMPLES / "bases" / "tinyllama", SAMPLES / "deltas" / "tinyllama" / "lora"


def made(folder, dtype):
    torch.manual_seed(5)
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)).to(dtype)
    network.save_pretrained(folder / "base")
    tokenizer().save_pretrained(folder / "base")
    config = peft.LoraConfig(r=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapter = peft.get_peft_model(network, config)
    with torch.no_grad():
        for name, value in adapter.named_parameters():
            if "lora_" in name:
                value.normal_(0, 0.02)
    adapter.save_pretrained(folder / "delta")
    (folder / "delta" / "README.md").unlink(missing_ok=True)
    return folder / "base", folder / "delta"


def tokenizer():
    """Make a tokenizer of the project's own pages, with words of several letters."""
    made = tokenizers.ByteLevelBPETokenizer()
    pages = sorted(str(path) for path in page.DOCS.glob("*.md"))
    made.train(pages, vocab_size=8_000, special_tokens=["<s>", "</s>"], show_progress=False)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, bos_token="<s>", eos_token="</s>")


def table(found, options):
    names = list(found)
    checks = list(next(iter(found.values())).checks)
    lines = [f"{f'suite {options.suite}, {options.device}':<34}" + "".join(f"{n:>26}" for n in names)]
    for check in checks:
        cells = [
            f"{statistics.median(times.checks[check]):.3f} s {times.verdicts[check]:>5}" for times in found.values()
        ]
        lines.append(f"{check:<34}" + "".join(f"{cell:>26}" for cell in cells))
    whole = [f"{statistics.median(t.whole):.3f} s      " for t in found.values()]
    lines.append(f"{'the run: fork, sandbox, checks':<34}" + "".join(f"{w:>26}" for w in whole))
    used = [f"{statistics.median(t.processor):.3f} s      " for t in found.values()]
    lines.append(f"{'its processor time':<34}" + "".join(f"{w:>26}" for w in used))
    once = [f"{t.base:.3f} s      " for t in found.values()]
    lines.append(f"{'measuring the base, once':<34}" + "".join(f"{w:>26}" for w in once))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
