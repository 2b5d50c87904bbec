"""A loop of one's own over one process, and over two that accelerate starts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")
pytest.importorskip("accelerate", reason="needs accelerate: pip install accelerate")

from accelerate import Accelerator  # noqa: E402

from deltareg.client import Client  # noqa: E402
from deltareg.errors import Forbidden  # noqa: E402
from deltareg.integrations import accelerate as registry  # noqa: E402
from deltareg.suites.golden_file import GOLDEN_FILE  # noqa: E402
from tests.integrations.training import adapter, tokenizer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).with_name("programs")
SOAK = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(900)]
WEIGHTS = "adapter_model.safetensors"


def test_a_model_is_pushed_as_it_is_now(client, line, tmp_path):
    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(adapter())

    first = registry.push(
        accelerator,
        model,
        line,
        step=3,
        base="tinyllama",
        tokenizer=tokenizer(),
        client=client,
        metrics={"loss": 0.25},
        labels={"team": "a"},
    )
    second = registry.push(
        accelerator, model, line, step=4, base="tinyllama", client=client, parent=first, golden=False
    )

    found, later = client.show(first), client.show(second)
    assert found.labels == {"step": "3", "metric.loss": "0.25", "team": "a"}
    assert GOLDEN_FILE in found.files
    assert later.parents == [first]
    model.save_pretrained(tmp_path / "own")
    pulled = client.pull(second, tmp_path / "pulled").path
    assert (pulled / WEIGHTS).read_bytes() == (tmp_path / "own" / WEIGHTS).read_bytes()


@pytest.mark.soak
def test_what_fails_is_told_or_raised(site, line, caplog):
    accelerator, model = Accelerator(cpu=True), adapter()
    with Client(site._config(site.token("read", principal="reader"))) as client:

        def push(*, strict):
            return registry.push(
                accelerator, model, line, step=1, base="tinyllama", golden=False, client=client, strict=strict
            )

        found = push(strict=False)
        with pytest.raises(Forbidden):
            push(strict=True)

    assert found is None
    assert f"{line} was not pushed: " in caplog.text


@pytest.mark.parametrize("way", [pytest.param(way, marks=SOAK) for way in ("ddp", "fsdp")])
def test_two_processes_push_once_and_both_know(site, line, tmp_path, way):
    told = launched(site, "accelerated", line, way, folder=tmp_path)

    assert told[0] == told[1] == {"ref": f"{line}:v1", "failed": True}
    with site.client() as client:
        assert len(list(client.versions.list(line))) == 1
        client.pull(f"{line}:v1", tmp_path / "pulled")
    whole = {path.name for path in (tmp_path / "pulled").iterdir()}
    assert {WEIGHTS, "adapter_config.json"} <= whole


@pytest.mark.parametrize(
    ("strategy", "wanted"), [pytest.param("steps", ["2", "4"], marks=SOAK), pytest.param("no", [], marks=SOAK)]
)
def test_a_trainer_with_sharded_weights_pushes_what_it_gathered(site, client, line, tmp_path, strategy, wanted):
    """And nothing where it gathered nothing: no process waits for another that does not come."""
    told = launched(site, "sharded", line, strategy, folder=tmp_path)

    assert [one["is_first"] for one in told] == [True, False]
    assert told[1]["versions"] == []
    assert [client.show(ref).labels["step"] for ref in told[0]["versions"]] == wanted
    if wanted:
        files = set(client.show(told[0]["versions"][-1]).files)
        assert WEIGHTS in files
        assert GOLDEN_FILE not in files


def launched(site, program, *args, folder):
    """Run a program on two processes; give what each of them wrote."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "DELTAREG_SERVER": site.url,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "DELTAREG_TOKEN": site.token("read", "push", principal="trainer"),
    }
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    ended = subprocess.run(
        [*launch, PROGRAMS / f"{program}.py", *args, folder],
        env=environ,
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
