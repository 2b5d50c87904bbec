"""What each tool runs for a row of `bench_beside`: words of a program, by the number of the round."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

Order = Callable[[int], list[str]]
"""Gives the words of a program, by the number of its round."""

TOOK = "measured: "
"""Begins the last line of a script that measures its own loop: seconds, and processor seconds, as JSON."""
MERGED, WEIGHTS = ("a", "b", "c", "d"), (0.4, 0.3, 0.2, 0.1)
HELP, LIST, PUSH, PULL = "--help", "list", "push of 25 kB", "pull of 25 kB, nothing cached"
RESOLVE, ROLLBACK = "200 resolves of a channel", "30 rollbacks"
BASE, MANY = "push of a base of 0.9 GB", "push of a LoRA of 3,584 tensors"
LORAS, TUNED = "push of four LoRAs of 43 MB", "push of four fine-tunes of 0.9 GB"
DIFF, MERGE_LORAS, MERGE = "diff of two of the LoRAs", "merge of the four LoRAs", "merge of the four fine-tunes"
ROWS = {
    **dict.fromkeys((HELP, LIST, PUSH, PULL, RESOLVE, ROLLBACK), False),
    **dict.fromkeys((BASE, MANY, LORAS, TUNED, DIFF, MERGE_LORAS, MERGE), True),
}
"""All rows, in their order, and whether one takes so long that it is done once."""

_LOOP = """
import json, os, time
for number in range(2):
    {call}
began, used = time.perf_counter(), time.process_time()
for number in range({count}):
    {call}
print("measured: " + json.dumps([time.perf_counter() - began, time.process_time() - used]))
"""
_OURS = """
import os
from deltareg.client import Client, ClientConfig
client = Client(ClientConfig(server=os.environ["DELTAREG_SERVER"], token=os.environ["DELTAREG_TOKEN"]))
"""
_MLFLOW = """
from mlflow import MlflowClient
client = MlflowClient()
"""
MLFLOW_MADE = f"""{_MLFLOW}
run = client.create_run(client.create_experiment("bench"))
client.create_registered_model("lora")
for number in (1, 2):
    client.create_model_version("lora", source=f"{{run.info.artifact_uri}}/small-0", run_id=run.info.run_id)
client.set_registered_model_alias("lora", "prod", 1)
print(run.info.run_id)
"""
PREPARED = f"""
import sys
sys.path.insert(0, sys.argv[1])
{_OURS}
from tests.benchmarks.bench_rollback import prepare
prepare(client)
client.bases.push(os.path.join(os.getcwd(), "many-base"), "many-base")
"""
PEFT = f"""
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained("large", dtype=torch.bfloat16)
names = {MERGED!r}
model = PeftModel.from_pretrained(model, "lora-a", adapter_name="a")
for name in names[1:]:
    model.load_adapter(f"lora-{{name}}", adapter_name=name)
model.add_weighted_adapter(list(names), {list(WEIGHTS)!r}, "all", combination_type="cat")
model.set_adapter("all")
model.merge_and_unload().save_pretrained(sys.argv[1])
"""


def of_registry(out: Path, cache: Path) -> dict[str, Order]:
    """Give what the command line of a registry runs."""

    def run(*words: object) -> list[str]:
        return [sys.executable, "-m", "deltareg_cli", *map(str, words)]

    def pull(number: int) -> list[str]:
        shutil.rmtree(cache, ignore_errors=True)
        return run("pull", "team/lora@prod", "--to", out / f"pulled-{number}")

    def merge(what: str) -> Order:
        parents = [f"team/four-{what}:v{at}={weight}" for at, weight in enumerate(WEIGHTS, 1)]
        return lambda _: run("merge", *parents, "--as", f"team/{what}-merged")

    def push_all(what: str) -> Order:
        pushes = (
            run("push", f"{what}-{name}", f"team/four-{what}", "--base", "large", "--no-golden") for name in MERGED
        )
        return lambda _: ["sh", "-c", " && ".join(" ".join(words) for words in pushes)]

    return {
        HELP: lambda _: run("--help"),
        LIST: lambda _: run("ls"),
        PUSH: lambda number: run("push", f"small-{number}", "team/small", "--base", "tinyllama", "--no-golden"),
        PULL: pull,
        RESOLVE: lambda _: [
            sys.executable,
            "-c",
            _OURS + _LOOP.format(count=200, call='client.show("team/lora@prod")'),
        ],
        ROLLBACK: lambda _: [
            sys.executable,
            "-c",
            _OURS + _LOOP.format(count=30, call='client.rollback("team/lora", "prod", version=1 + number % 2)'),
        ],
        BASE: lambda _: run("base", "push", "large", "large"),
        MANY: lambda _: run("push", "many", "team/many", "--base", "many-base", "--no-golden"),
        LORAS: push_all("lora"),
        TUNED: push_all("tuned"),
        DIFF: lambda _: run("diff", "team/four-lora:v1", "team/four-lora:v2"),
        MERGE_LORAS: merge("lora"),
        MERGE: merge("tuned"),
    }


def of_mlflow(python: Path, run_id: str, out: Path) -> dict[str, Order]:
    """Give what MLflow's command line and its client run."""

    def run(*words: object) -> list[str]:
        return [str(python), "-m", "mlflow", *map(str, words)]

    def log(folder: str) -> list[str]:
        return run("artifacts", "log-artifacts", "--local-dir", folder, "--run-id", run_id, "--artifact-path", folder)

    def log_all(what: str) -> Order:
        return lambda _: ["sh", "-c", " && ".join(" ".join(log(f"{what}-{name}")) for name in MERGED)]

    def pull(number: int) -> list[str]:
        into = out / str(number)
        into.mkdir(parents=True, exist_ok=True)
        return run("artifacts", "download", "--run-id", run_id, "--artifact-path", "small-0", "--dst-path", into)

    def loop(count: int, call: str) -> Order:
        return lambda _: [str(python), "-c", _MLFLOW + _LOOP.format(count=count, call=call)]

    return {
        HELP: lambda _: run("--help"),
        LIST: lambda _: run("experiments", "search"),
        PUSH: lambda number: log(f"small-{number}"),
        PULL: pull,
        RESOLVE: loop(200, 'client.get_model_version_by_alias("lora", "prod")'),
        ROLLBACK: loop(30, 'client.set_registered_model_alias("lora", "prod", 1 + number % 2)'),
        BASE: lambda _: log("large"),
        MANY: lambda _: log("many"),
        LORAS: log_all("lora"),
        TUNED: log_all("tuned"),
    }


def of_hub(out: Path, home: Path) -> dict[str, Order]:
    """Give what the hub's own command line runs."""
    program = shutil.which("hf", path=str(Path(sys.executable).parent)) or "hf"

    def pull(number: int) -> list[str]:
        shutil.rmtree(home / "cache", ignore_errors=True)
        return [program, "download", "team/lora", "--revision", "prod", "--local-dir", str(out / str(number))]

    return {HELP: lambda _: [program, "--help"], PULL: pull}


def of_cp(out: Path) -> dict[str, Order]:
    """Give copies of the same files."""
    out.mkdir()

    def copy(*names: str) -> Order:
        return lambda number: ["cp", "-r", *(name.format(number) for name in names), str(out)]

    small = copy("small-{}")
    loras, tuned = (copy(*(f"{what}-{name}" for name in MERGED)) for what in ("lora", "tuned"))
    return {PUSH: small, PULL: small, BASE: copy("large"), MANY: copy("many"), LORAS: loras, TUNED: tuned}


def mergekit_recipe(files: Path) -> str:
    """Write the merge of the fine-tunes as mergekit reads it."""
    models = [
        f"  - model: {files / f'tuned-{name}'}\n    parameters: {{weight: {weight}}}"
        for name, weight in zip(MERGED, WEIGHTS, strict=True)
    ]
    return "\n".join(["models:", *models, "merge_method: linear", "dtype: bfloat16", ""])
