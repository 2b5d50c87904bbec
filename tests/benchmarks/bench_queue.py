"""How many verifications an hour a worker does: `python tests/benchmarks/bench_queue.py`.

LoRAs of one base lie in the queue before there is a worker; then `deltareg up` starts with one, and
the clock runs from there until all of them are verified: proof of the bytes, fork, sandbox, checks,
report, and once the start of the worker and the measuring of the base. Everything goes through a
command line, so another release beside this one is measured by the same: `--deltareg FILE`.
`--waiting 100 10000 100000` tells what the queue itself costs while so many runs wait.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import peft
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import page
from tests.benchmarks.bench_verify import LLAMA, tokenizer  # only now it can be imported
from tests.benchmarks.queue_costs import HEAD, costs
from tests.process_table import processor_s

_OWN = Path(sys.executable).with_name("deltareg")
_START_S, _EACH_S = 180.0, 120.0
_HEAD = f"{'':<28}{'runs':>6}{'passed':>8}{'wall s':>9}{'CPU s':>9}{'an hour':>9}{'a core':>9}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50, help="LoRAs in the queue")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--small", action="store_true", help="a base of 1 M parameters")
    parser.add_argument("--deltareg", type=Path, action="append", help="another release's command")
    page.add_option(parser)
    parser.add_argument("--waiting", type=int, nargs="+", help="tell the queue's own costs with so many runs instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deltareg-queue-") as folder:
        if options.waiting:
            print(HEAD, *(costs(Path(folder), size) for size in options.waiting), sep="\n")
        else:
            verify_all(options, Path(folder))


def verify_all(options, folder):
    """Time the verification of a queue, by one release or several."""
    lines = [f"{title(options)}\n{_HEAD}"]
    print(lines[0])
    base, deltas = made(folder, options)
    commands = {"this release": _OWN} | {str(p): p for p in options.deltareg or ()}
    for number, (name, command) in enumerate(commands.items()):
        lines.append(measure(name, command, folder / f"registry-{number}", base, deltas))
        print(lines[-1], flush=True)
    page.write_docs(options, "queue", "\n".join(lines))


def title(options):
    size = "1 M" if options.small else "270 M"
    return f"{options.count} LoRAs of one base, Llama of {size} parameters, {options.dtype}"


def made(folder, options):
    """Make a base and LoRAs of it, each with values of its own."""
    torch.manual_seed(5)
    shape = LLAMA | ({"hidden_size": 64, "intermediate_size": 128} if options.small else {})
    network = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
    network = network.to(getattr(torch, options.dtype))
    network.save_pretrained(folder / "base")
    tokenizer().save_pretrained(folder / "base")
    config = peft.LoraConfig(r=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapter = peft.get_peft_model(network, config)
    for number in range(options.count):
        with torch.no_grad():
            for name, value in adapter.named_parameters():
                if "lora_" in name:
                    value.normal_(0, 0.02)
        adapter.save_pretrained(folder / f"delta-{number}")
        (folder / f"delta-{number}" / "README.md").unlink(missing_ok=True)
    return folder / "base", [folder / f"delta-{number}" for number in range(options.count)]


def measure(name, command, folder, base, deltas):
    """Fill a queue, have one worker empty it, and tell of it in a line."""
    folder.mkdir()
    registry = Registry(command, folder)
    with registry.up(workers=0):
        registry.told("base", "push", str(base), "base")
        refs = [
            registry.told("push", str(delta), f"team/line-{number}", "--base", "base")["ref"]
            for number, delta in enumerate(deltas)
        ]
    with registry.up(workers=1) as process:
        used, began = processor_s(process.pid), time.perf_counter()
        verdicts = registry.verified(refs, within_s=_START_S + len(refs) * _EACH_S)
        wall, used = time.perf_counter() - began, processor_s(process.pid) - used
    passed = sum(verdict == "pass" for verdict in verdicts.values())
    figures = f"{wall:>9.1f}{used:>9.1f}{3600 * passed / wall:>9.0f}{3600 * passed / used:>9.0f}"
    return f"{name:<28}{len(refs):>6}{passed:>8}{figures}"


class Registry:
    """A registry in a folder of its own, driven by an installed command."""

    def __init__(self, command, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._command, self._folder = command, folder
        places = {f"XDG_{name}_HOME": str(folder / name) for name in ("CONFIG", "DATA", "CACHE")}
        quiet = {"NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "DELTAREG_NO_PROGRESS": "1"}
        own = {"HOME": str(folder), "DELTAREG_SERVER": f"http://127.0.0.1:{self._port}"}
        golden = {"DELTAREG_GOLDEN": "never"}  # recording is the push's work
        self._environ = {**os.environ, **places, **quiet, **own, **golden}

    @contextmanager
    def up(self, *, workers):
        """Keep it running."""
        arguments = ("up", "--data-dir", str(self._folder / "data"), "--port", str(self._port))
        with (self._folder / f"up-{workers}.log").open("w") as log:
            process = subprocess.Popen(
                [str(self._command), *arguments, "--workers", str(workers)],
                env=self._environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                self._await_start()
                yield process
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)

    def told(self, *arguments):
        """Run a command and give what it says as JSON; None where it fails."""
        run = subprocess.run(
            [str(self._command), *arguments, "--json"], env=self._environ, capture_output=True, text=True, check=False
        )
        if run.returncode and arguments[0] != "ls":
            raise SystemExit(f"{' '.join(arguments)}: {run.stderr or run.stdout}")
        return None if run.returncode else json.loads(run.stdout)

    def verified(self, refs, *, within_s):
        """Wait until every version has a verdict; gives them."""
        found: dict[str, str] = {}
        deadline = time.monotonic() + within_s
        while len(found) < len(refs):
            if time.monotonic() > deadline:
                raise SystemExit(f"after {within_s:.0f} s {len(found)} of {len(refs)} are verified")
            time.sleep(0.5)
            ref = next(one for one in refs if one not in found)
            verdict = self.told("show", ref)["verdict"]
            if verdict is not None:
                found[ref] = verdict
        return found

    def _await_start(self):
        deadline = time.monotonic() + _START_S
        while self.told("ls") is None:
            if time.monotonic() > deadline:
                raise SystemExit(f"it did not start: {(self._folder / 'up-0.log').read_text()}")
            time.sleep(0.2)


if __name__ == "__main__":
    main()
