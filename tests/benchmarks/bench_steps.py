"""What a step of a loop costs: `python tests/benchmarks/bench_steps.py`.

A loop moves all weights of a LoRA a little, pushes it as a step and waits until the channel serves
it. A server on loopback, SQLite and a folder, a worker that only proves, and an agent that follows
the channel are real processes beside it. Of each size is told the median step: what the loop itself
waits for (saving), the push, the proof, the move of the channel, and how long after that the agent
serves it; then the sum of all but saving, its longest, bytes sent, and the loop's processor time.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np  # only now the tests can be imported
from safetensors.numpy import save_file

from deltareg.integrations.rl import StepPushes
from tests.benchmarks import page
from tests.benchmarks.worker_beside import worker_process
from tests.fixtures.processes import Processes, until

_HEAD = (
    f"{'LoRA MB':>8}{'steps':>7}{'save s':>8}{'push s':>8}{'proven s':>10}{'moved s':>9}"
    f"{'agent s':>9}{'served s':>10}{'longest':>9}{'sent MB':>9}{'CPU s':>7}"
)
_WIDTH, _LAYERS = 2048, 28
_SIZES = ((1, 4), (_LAYERS, 64))  # layers and rank: 0.07 MB, 29 MB
_POLICY = {"smoke": False, "rollback": {"revisions": 2, "days": 0}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="of the small one; a third of the large")
    page.add_option(parser)
    options = parser.parse_args()
    lines = [_HEAD]
    print(_HEAD, flush=True)
    with tempfile.TemporaryDirectory(prefix="deltareg-bench-") as folder:
        for line in measure(Path(folder), options.steps):
            print(line, flush=True)
            lines.append(line)
    page.write_docs(options, "steps", "\n".join(lines))


def measure(folder, steps):
    """Run a loop for each size, and tell of it in a line."""
    processes = Processes(folder)
    try:
        server = processes.api().start()
        with server.client(folder / "cache") as client:
            base = write_base(folder / "base")
            client.bases.register(base, "base")
            with worker_process(client, server, folder, "--only", "prove"):
                for count, size in zip((steps, max(3, steps // 3)), _SIZES, strict=True):
                    yield told(client, server, processes, Adapter(*size), count)
    finally:
        processes.end()


def told(client, server, processes, model, count):
    """Run the loop with an agent that follows it."""
    line = f"lab/steps-{model.size_bytes}"
    follows = processes.folder / line.replace("/", "-")
    saved, waited, lags, spent = [], [], [], []
    with StepPushes(line, "rollout", base="base", client=client, keep=2) as steps:
        begin(client, line, model, processes.folder)
        client.channels.create(line, "rollout")
        client.channels.set_policy(line, "rollout", _POLICY)
        model.train()
        steps.push(model, 1)
        steps.wait(1)
        agent = processes.deltareg(
            "agent", "run", "--channel", f"{line}@rollout", "--dir", str(follows), server=server.url, token=server.token
        )
        until(lambda: serves(follows, client.show(f"{line}@rollout").version), "the agent serves")
        for step in range(2, count + 2):
            model.train()
            began, cpu = time.perf_counter(), time.process_time()
            steps.push(model, step)
            saved.append(time.perf_counter() - began)
            version = int(steps.wait(step).rpartition(":v")[2])
            moved = time.perf_counter()
            until(partial(serves, follows, version), "the agent serves it", pause_s=0.002)
            lags.append(time.perf_counter() - moved)
            waited.append(time.perf_counter() - began - saved[-1])
            spent.append(time.process_time() - cpu)
        reports = list(steps.reports)[-count:]
        agent.kill()
    middle = statistics.median
    return (
        f"{model.size_bytes / 1e6:>8.2f}{count:>7}{middle(saved):>8.3f}"
        f"{middle(r.pushed_s for r in reports):>8.3f}{middle(r.proven_s for r in reports):>10.3f}"
        f"{middle(r.moved_s for r in reports):>9.3f}{middle(lags):>9.3f}{middle(waited):>10.3f}"
        f"{max(waited):>9.3f}{middle(r.uploaded_bytes for r in reports) / 1e6:>9.2f}"
        f"{middle(spent):>7.2f}"
    )


def begin(client, line, model, folder):
    """Make the line, by a push of the state that the loop begins from."""
    with tempfile.TemporaryDirectory(dir=folder) as start:
        model.save_pretrained(start)
        client.push(start, line, base="base")


def serves(folder, version):
    """Say whether the agent's link leads to a version."""
    current = folder / "current"
    return current.is_symlink() and f"--v{version}-" in current.readlink().name


class Adapter:
    """A LoRA in a loop; it saves itself as peft does."""

    def __init__(self, layers, rank):
        self._chance, self._rank, self._layers = np.random.default_rng(5), rank, layers
        self.tensors = {}
        for number in range(layers):
            name = f"base_model.model.model.layers.{number}.mlp.up_proj"
            for side, shape in (("lora_A", (rank, _WIDTH)), ("lora_B", (_WIDTH, rank))):
                drawn = 0.02 * self._chance.standard_normal(shape, np.float32)
                self.tensors[f"{name}.{side}.weight"] = drawn

    @property
    def size_bytes(self):
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def train(self):
        """Move all weights by a hundredth of what they are."""
        for tensor in self.tensors.values():
            step = 2e-4 * self._chance.standard_normal(tensor.shape, np.float32)
            np.add(tensor, step, out=tensor)

    def save_pretrained(self, folder):
        save_file(self.tensors, f"{folder}/adapter_model.safetensors", metadata={"format": "pt"})
        config = {
            "peft_type": "LORA",
            "r": self._rank,
            "lora_alpha": self._rank,
            "target_modules": ["up_proj"],
            "layers_to_transform": list(range(self._layers)),
        }
        Path(folder, "adapter_config.json").write_text(json.dumps(config))


def write_base(folder):
    """Write square weights of float16."""
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "plain"}')
    draw = np.random.default_rng(1)
    tensors = {
        f"model.layers.{number}.mlp.up_proj.weight": draw.normal(0, 0.02, (_WIDTH, _WIDTH)).astype(np.float16)
        for number in range(_LAYERS)
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


if __name__ == "__main__":
    main()
