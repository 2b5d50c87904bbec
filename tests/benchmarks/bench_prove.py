"""What a proof costs: `python tests/benchmarks/bench_prove.py`.

A LoRA of 1.8 MB, twice, and a full fine-tune are pushed to a server on loopback, SQLite and a
folder, with a real worker beside it. Of each is told: how long the push took, how long after its
end the version was proven, the processor time that worker and child spent meanwhile, what is
stored, and what was read for the proof as a share of the bytes pushed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np  # only now the tests can be imported
from safetensors.numpy import save_file

from tests.benchmarks import page
from tests.benchmarks.worker_beside import worker_process
from tests.fixtures.processes import Processes
from tests.process_table import processor_s

_HEAD = f"{'pushed':<26}{'MB':>8}{'stored':>8}{'push s':>8}{'proven s':>10}{'CPU s':>8}{'read':>7}"
_WIDTH = 2048


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of the full fine-tune")
    page.add_option(parser)
    options = parser.parse_args()
    lines = [_HEAD]
    print(_HEAD)
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
        for line in measure(Path(folder), options):
            print(line, flush=True)
            lines.append(line)
    page.write_docs(options, "prove", "\n".join(lines))


def measure(folder, options):
    """Push with a worker beside the server, and tell of each push in a line."""
    layers = max(1, round(options.gigabytes * 1e9 / (2 * _WIDTH * _WIDTH)))
    processes = Processes(folder)
    try:
        server = processes.api().start()
        with server.client(folder / "cache") as client, worker_process(client, server, folder) as worker:
            base = write_model(folder / "base", layers, step=0.0, seed=1)
            client.bases.push(base, "base")
            settled(lambda: client.bases.show("base").proof)
            for name, path in (
                ("a LoRA", write_lora(folder / "lora", layers)),
                ("a LoRA, again trained", write_lora(folder / "lora2", layers, seed=9)),
                ("a full fine-tune", write_model(folder / "full", layers, step=1e-3, seed=2)),
            ):
                yield told(name, client, path, worker.pid)
    finally:
        processes.end()


def told(name, client, path, pid):
    """Push, wait for the proof, and write the line."""
    spent = processor_s(pid)
    began = time.perf_counter()
    report = client.push(path, f"lab/{path.name}", base="base")
    pushed = time.perf_counter()
    settled(lambda: client.show(report.version.ref).proof)
    proven = time.perf_counter()
    spent = processor_s(pid) - spent
    version = client.show(report.version.ref)
    read = version.stored_bytes / max(1, report.uploaded_bytes)
    return (
        f"{name:<26}{version.logical_bytes / 1e6:>8.1f}{version.stored_bytes / 1e6:>8.1f}"
        f"{pushed - began:>8.2f}{proven - pushed:>10.2f}{spent:>8.2f}{read:>7.0%}"
    )


def settled(look):
    """Ask until it is proven."""
    deadline = time.monotonic() + 600
    while look() != "proven":
        assert time.monotonic() < deadline, "nobody proved it"
        time.sleep(0.01)


def write_model(folder, layers, *, step, seed):
    """Write square weights of bfloat16's size, moved by a training step or not."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "plain"}')
    start, moved = np.random.default_rng(1), np.random.default_rng(seed)
    tensors = {}
    for number in range(layers):
        weight = start.normal(0, 0.02, (_WIDTH, _WIDTH)).astype(np.float32)
        if step:
            weight += moved.normal(0, step * 0.02, weight.shape).astype(np.float32)
        tensors[f"model.layers.{number}.mlp.up_proj.weight"] = weight.astype(np.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_lora(folder, layers, *, seed=5):
    """Write an adapter of about 1.8 MB over all weights."""
    folder.mkdir()
    draw = np.random.default_rng(seed)
    rank = max(1, round(1.8e6 / (4 * 2 * _WIDTH * layers)))
    tensors = {}
    for number in range(layers):
        name = f"base_model.model.model.layers.{number}.mlp.up_proj"
        for side, shape in (("lora_A", (rank, _WIDTH)), ("lora_B", (_WIDTH, rank))):
            tensors[f"{name}.{side}.weight"] = draw.normal(0, 0.02, shape).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(
        f'{{"peft_type": "LORA", "r": {rank}, "lora_alpha": {rank}, "target_modules": ["up_proj"]}}'
    )
    return folder


if __name__ == "__main__":
    main()
