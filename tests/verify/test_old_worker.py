"""LoRAs of diffusion models from push to promotion, judged by a worker in its sandbox."""

import sys

import pytest

from deltareg.errors import GatePending
from tests.fixtures.processes import until

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("diffusers", reason="needs diffusers: pip install 'deltareg[diffusion]'")
from tests.verify import diffusion_loras, tiny_diffusers  # noqa: E402  # they need it
from tests.verify.test_diffusion_bases import EXACT, answers, largest  # noqa: E402
from tests.verify.test_pipeline_bases import UNET, save_pipeline, trained, write  # noqa: E402

WORK = (sys.executable, "-m", "deltareg_verify", "run", "--gpu", "cpu")
SORTS = ("unet new", "flux kohya")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # what the libraries say to each other
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


def push_all(client, folder):
    """Push LoRAs of two models and of a pipeline; gives their refs."""
    refs = []
    for number, name in enumerate(SORTS):
        (folder / str(number)).mkdir()
        made = diffusion_loras.make(diffusion_loras.SORTS[name], folder / str(number))
        client.bases.push(made.base, f"base-{number}")
        pushed = client.push(made.delta, f"team/lora-{number}", base=f"base-{number}")
        refs.append(pushed.version.ref)
    save_pipeline(folder / "pipeline")
    client.bases.push(folder / "pipeline", "pipeline")
    delta = write(folder / "delta", trained(unet=UNET)[1], unet=UNET)
    refs.append(client.push(delta, "team/of-pipeline", base="pipeline").version.ref)
    return refs


def test_they_are_pushed_verified_promoted_and_folded(local_registry, processes, tmp_path):
    client = local_registry.client(("read", "push", "promote", "admin"))
    refs = push_all(client, tmp_path)
    with pytest.raises(GatePending):
        client.promote(refs[0], "prod")
    token = local_registry.token("read", "verify", principal="worker", kind="wrk")
    environ = processes.environ("worker", DELTAREG_TOKEN=token, DELTAREG_WORKER_THREADS="1",
                                DELTAREG_SERVER=local_registry.url)  # fmt: skip

    runs = [client.verify(ref).id for ref in refs]
    processes.start("worker", *WORK, "--scratch", str(tmp_path / "work"), environ=environ)
    until(lambda: all(client.runs.show(run).verdict for run in runs), "verdicts", timeout_s=200)

    for run in runs:
        verdict = client.runs.show(run).verdict
        assert verdict.verdict == "pass", verdict.checks
        assert verdict.environment["diffusers"]
        assert {"network", "files", "calls"} <= set(verdict.sandbox.split())
    assert [client.promote(ref, "prod").version for ref in refs] == [1, 1, 1]
    made = diffusion_loras.SORTS[SORTS[0]]
    client.materialize(refs[0], tmp_path / "out")
    model = tiny_diffusers.read(made.model, tmp_path / "out")
    library = diffusion_loras.fused(diffusion_loras.loaded(made, again(made, tmp_path)))
    assert largest(answers(model), answers(library)) < EXACT
    client.materialize(refs[2], tmp_path / "whole")
    assert (tmp_path / "whole" / "model_index.json").is_file()


def again(sort, folder):
    """Make the same LoRA once more, for the library to load."""
    (folder / "again").mkdir()
    return diffusion_loras.make(sort, folder / "again")
