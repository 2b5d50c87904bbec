"""LoRAs of diffusion models from push to promotion, judged by a worker in its sandbox."""

import sys

import pytest

from deltareg.errors import GatePending, Refused
from tests.fixtures.processes import until

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("diffusers", reason="needs diffusers: pip install 'deltareg[diffusion]'")
from tests.verify import diffusion_loras, tiny_diffusers  # noqa: E402  # they need it
from tests.verify.test_diffusion_bases import EXACT, answers, largest  # noqa: E402
from tests.verify.test_pipeline_bases import UNET, save_pipeline, trained, write  # noqa: E402

WORK = (sys.executable, "-m", "deltareg_verify", "run", "--gpu", "cpu")
QUICK = ("unet new", "flux original kohya")
ALL = (
    "sdxl new",
    "unet old processors",
    "unet kohya convolutions",
    "sd3 kohya",
    "unet comfyui",
    "sdxl original kohya",
    "sdxl original comfyui",
    "flux original kohya",
    "flux original comfyui",
    "wan original comfyui",
    "unet locon",
    "sdxl original loha",
    "unet lokr",
    "wan lokr",
)
pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # what the libraries say to each other
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


def push_all(client, folder, sorts):
    """Push LoRAs of as many models; gives their refs, with the names of what they are."""
    refs = {}
    for number, name in enumerate(sorts):
        (folder / str(number)).mkdir()
        made = diffusion_loras.make(diffusion_loras.SORTS[name], folder / str(number))
        client.bases.push(made.base, f"base-{number}")
        if made.source is not None and "original" in name:  # under the names of the model's first code
            if "kohya" in name:
                as_is = client.push(made.source, f"team/original-{number}", base=f"base-{number}")
                refs[as_is.version.ref] = name
            else:
                with pytest.raises(Refused) as told:
                    client.push(made.source, f"team/lora-{number}", base=f"base-{number}")
                assert "deltareg convert PATH" in told.value.problems[0].fix
        pushed = client.push(made.delta, f"team/lora-{number}", base=f"base-{number}")
        refs[pushed.version.ref] = name
    return refs


def push_of_pipeline(client, folder):
    """Push a LoRA of a pipeline; gives its ref."""
    save_pipeline(folder / "pipeline")
    client.bases.push(folder / "pipeline", "pipeline")
    delta = write(folder / "delta", trained(unet=UNET)[1], unet=UNET)
    return client.push(delta, "team/of-pipeline", base="pipeline").version.ref


def assert_verified(registry, client, processes, folder, refs):
    """Have a worker in its sandbox judge versions, all of which pass."""
    token = registry.token("read", "verify", principal="worker", kind="wrk")
    environ = processes.environ(
        "worker", DELTAREG_TOKEN=token, DELTAREG_WORKER_THREADS="1", DELTAREG_SERVER=registry.url
    )
    runs = [client.verify(ref).id for ref in refs]
    processes.start("worker", *WORK, "--scratch", str(folder / "work"), environ=environ)
    until(lambda: all(client.runs.show(run).verdict for run in runs), "verdicts", timeout_s=250)
    for run in runs:
        verdict = client.runs.show(run).verdict
        assert verdict.verdict == "pass", verdict.checks
        assert verdict.environment["diffusers"]
        assert {"network", "files", "calls"} <= set(verdict.sandbox.split())


def assert_folds_as_the_library_fuses(client, folder, ref, name):
    """Fold a version, and hold what it does against diffusers' own fuse."""
    sort = diffusion_loras.SORTS[name]
    again, out = (folder / f"{what} {ref.replace('/', ' ')}" for what in ("again", "out"))
    again.mkdir()
    made = diffusion_loras.make(sort, again)
    client.materialize(ref, out)
    model = tiny_diffusers.read(sort.model, out)
    library = diffusion_loras.fused(diffusion_loras.loaded(sort, made))
    assert largest(answers(model), answers(library)) < EXACT


@pytest.mark.soak
def test_they_are_pushed_verified_promoted_and_folded(local_registry, processes, tmp_path):
    client = local_registry.client(("read", "push", "promote", "admin"))
    named = push_all(client, tmp_path, QUICK)
    refs = [*named, push_of_pipeline(client, tmp_path)]
    with pytest.raises(GatePending):
        client.promote(refs[0], "prod")

    assert_verified(local_registry, client, processes, tmp_path, refs)

    assert [client.promote(ref, "prod").version for ref in refs] == [1] * 4
    for ref in refs[1:3]:  # as it is, and converted
        assert_folds_as_the_library_fuses(client, tmp_path, ref, named[ref])
    client.materialize(refs[-1], tmp_path / "whole")
    assert (tmp_path / "whole" / "model_index.json").is_file()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_all_that_people_have_are_promoted_and_fold_as_diffusers_fuses(local_registry, processes, tmp_path):
    client = local_registry.client(("read", "push", "promote", "admin"))
    named = push_all(client, tmp_path, ALL)

    assert_verified(local_registry, client, processes, tmp_path, named)

    assert len(named) > len(ALL)
    for ref, name in named.items():
        assert client.promote(ref, "prod").version == 1
        assert_folds_as_the_library_fuses(client, tmp_path, ref, name)
