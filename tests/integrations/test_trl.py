"""TRL's SFTTrainer pushes by the callback, and by its own `push_to_hub` with two variables set."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub.conftest import BASE, HUB_ID, open_hub

pytest.importorskip("trl", reason="needs trl: pip install trl")

pytestmark = [pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("programs") / "sft.py"
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def hub(sqlite_template, tmp_path_factory, local_stock):
    """Run a registry that answers clients of the hub; the base is known by its id there."""
    folder = tmp_path_factory.mktemp("hub")
    shutil.copyfile(sqlite_template, folder / "registry.db")
    with open_hub(f"sqlite:///{folder / 'registry.db'}", folder, local_stock) as server:
        with server.client() as client:
            client.bases.push(BASE, "tinyllama", hub_ids=[HUB_ID])
        yield server


@pytest.fixture
def sft(hub, tmp_path):
    """Run the script; give what it printed last."""

    def run(base, name, way):
        token = hub.token("read", "push", principal="trainer")
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        environ = kept | {
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "DELTAREG_SERVER": hub.url,
            "DELTAREG_TOKEN": token,
        }
        ended = subprocess.run(
            [sys.executable, PROGRAM, base, name, way, tmp_path / "out"],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-4000:]
        return json.loads(ended.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize("way", ["callback", "hub"])
def test_what_was_trained_is_what_was_pushed(hub, sft, tmp_path, way):
    base = str(BASE) if way == "callback" else HUB_ID

    told = sft(base, f"team/sft-{way}", way)

    with hub.client() as client:
        versions = list(client.versions.list(f"team/sft-{way}"))
        pulled = client.pull(versions[0].ref, tmp_path / "pulled").path
    assert {v.base.name for v in versions} == {"tinyllama"}
    saved = tmp_path / "out" / ("checkpoint-4" if way == "callback" else "")
    assert (pulled / WEIGHTS).read_bytes() == (saved / WEIGHTS).read_bytes()
    assert not {"training_args.bin", "optimizer.pt"} & {p.name for p in pulled.iterdir()}
    if way == "callback":
        assert told == [v.ref for v in reversed(versions)]
        assert [v.labels["step"] for v in reversed(versions)] == ["2", "4"]
        assert "metric.loss" in versions[0].labels
