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
PROGRAM = Path(__file__).with_name("programs") / "accelerated.py"
WEIGHTS = "adapter_model.safetensors"


def test_a_model_is_pushed_as_it_is_now(client, line, tmp_path):
    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(adapter())

    first = registry.push(
        accelerator, model, line, step=3, base="tinyllama", tokenizer=tokenizer(), client=client,
        metrics={"loss": 0.25}, labels={"team": "a"},
    )  # fmt: skip
    second = registry.push(
        accelerator, model, line, step=4, base="tinyllama", client=client, parent=first,
        golden=False,
    )  # fmt: skip

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
                accelerator, model, line, step=1, base="tinyllama", golden=False, client=client,
                strict=strict,
            )  # fmt: skip

        found = push(strict=False)
        with pytest.raises(Forbidden):
            push(strict=True)

    assert found is None
    assert f"{line} was not pushed: " in caplog.text


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_two_processes_push_once_and_both_know(site, line, tmp_path, way):
    token = site.token("read", "push", principal="trainer")
    environ = {
        "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path),
        "DELTAREG_SERVER": site.url, "DELTAREG_TOKEN": token, "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]

    ended = subprocess.run(
        [*launch, PROGRAM, line, way, tmp_path], env=environ, cwd=tmp_path, check=False,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr[-4000:]
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert told[0] == told[1] == {"ref": f"{line}:v1", "failed": True}
    with site.client() as client:
        assert len(list(client.versions.list(line))) == 1
        client.pull(f"{line}:v1", tmp_path / "pulled")
    whole = {path.name for path in (tmp_path / "pulled").iterdir()}
    assert {WEIGHTS, "adapter_config.json"} <= whole
