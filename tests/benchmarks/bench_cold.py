"""Cold pulls of six successive checkpoints: `python tests/benchmarks/bench_cold.py`.

A small Llama is trained on the prose of this repository; then a LoRA (r=16, float32) and a full
fine-tune (bfloat16) are trained on its code, and saved six times on the way. Each is pushed in turn
by one machine and pulled by machines that have the base and nothing else. *alone* is what the same
checkpoint takes in a namespace of its own. With `--beside CHECKOUT` the same files go through the
code of another checkout as well.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch  # only now the tests can be imported
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from tests.benchmarks import page

ROOT = Path(__file__).parents[2]
_CHECKPOINTS, _STEPS, _ROWS, _LENGTH = 6, 30, 4, 128
_LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_SHAPES = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=Path, help="another checkout, measured on the same files")
    page.add_option(parser)
    options = parser.parse_args()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
        train_all(Path(folder))
        now = {kind: measure(ROOT, Path(folder), kind) for kind in ("lora", "full")}
        before = {kind: options.beside and measure(options.beside, Path(folder), kind) for kind in now}
    text = "\n\n".join("\n".join(table(kind, now[kind], before[kind])) for kind in now)
    sys.stdout.write(text + "\n")
    page.write_docs(options, "cold", text)


def train_all(folder):
    """Write `base`, and `lora/1` to `lora/6`, `full/1` to `full/6`."""
    torch.manual_seed(1)
    prose, code = read_bytes("docs/**/*.md"), read_bytes("registry/deltareg/**/*.py")
    base = LlamaForCausalLM(LlamaConfig(vocab_size=256, **_SHAPES))
    for _ in train(base, prose, rate=1e-3, steps=6 * _STEPS):
        pass
    base.to(torch.bfloat16).save_pretrained(folder / "base")
    for number, tuned in enumerate(checkpoints(load(folder), code, rate=2e-5), 1):
        target = folder / "full" / str(number)
        tuned.config.save_pretrained(target)
        copy = LlamaForCausalLM(tuned.config)
        copy.load_state_dict(tuned.state_dict())
        copy.to(torch.bfloat16).save_pretrained(target)
    adapter = get_peft_model(load(folder), LoraConfig(r=16, lora_alpha=32, target_modules=_LAYERS))
    for number, tuned in enumerate(checkpoints(adapter, code, rate=2e-4), 1):
        tuned.save_pretrained(folder / "lora" / str(number))


def load(folder):
    return LlamaForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)


def checkpoints(network, data, *, rate):
    """Train to the end of a cosine schedule, and give the network six times on the way."""
    for step in train(network, data, rate=rate, steps=_CHECKPOINTS * _STEPS):
        if step % _STEPS == 0:
            yield network


def train(network, data, *, rate, steps):
    """Train, and give the number of each step."""
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        begins = torch.randint(len(data) - _LENGTH, (_ROWS,))
        rows = torch.stack([data[begin : begin + _LENGTH] for begin in begins])
        network(input_ids=rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        yield step


def read_bytes(pattern):
    raw = b"".join(path.read_bytes() for path in sorted(ROOT.glob(pattern)))
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8).long()


def measure(root, folder, kind):
    """Push and pull with the code of a checkout; gives the figures of `cold_line.py`."""
    rooms = [root / room for room in ("registry", "cli", "migrations", "gpu_verify")]
    path = os.pathsep.join(str(one) for one in (*rooms, root))
    script = Path(__file__).with_name("cold_line.py")
    command = [sys.executable, str(script), str(folder / "base"), str(folder / kind)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=True, stdout=subprocess.PIPE, cwd=root)
    return json.loads(done.stdout)


def table(kind, now, before):
    names = {"lora": "LoRA r=16, float32", "full": "full fine-tune, bfloat16"}
    beside = f"{'before':>10}{'':>7}" if before else ""
    yield f"{names[kind]:<26}{'file':>10}{'alone':>10}{'cold pull':>11}{'':>7}{beside}{'stored':>10}"
    for number, row in enumerate(now["versions"]):
        old = before and before["versions"][number]
        text = f"{'v' + str(number + 1):<26}" + "".join(f"{row[name]:>10,}" for name in ("file", "alone"))
        text += f"{row['cold']:>11,}{row['cold'] / row['alone']:>6.2f}x"
        text += f"{old['cold']:>10,}{old['cold'] / row['alone']:>6.2f}x" if old else ""
        yield text + f"{row['stored']:>10,}"
    total = f"the store holds {now['store']:,} bytes for six versions"
    if before:
        total += f"; before {before['store']:,} ({now['store'] / before['store']:.2f} times as much now)"
    yield total


if __name__ == "__main__":
    main()
