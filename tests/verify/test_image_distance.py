"""Images of seeded noise by the library's own schedulers, and how far they are from others."""

import json

import numpy as np
import pytest

judged = pytest.importorskip("tests.verify.judged", reason="needs torch and peft")
diffusers = pytest.importorskip("diffusers", reason="needs diffusers")
torch = judged.torch
from deltareg.suites.samples import Samples  # noqa: E402
from deltareg_verify.engine.measures.denoising import DenoisingRule, denoise  # noqa: E402
from deltareg_verify.engine.measures.images import distance, features, made_images  # noqa: E402
from tests.verify.tiny_diffusers import TINY  # noqa: E402

FEW = "parameters: {least_samples: 1, steps: 3}"


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def network(images, time):
    """Stand for a network: anything that depends on images and time."""
    return np.tanh(images * 0.7 + time / 2000) * np.float32(0.9)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("DDIMScheduler", {}),
        (
            "DDIMScheduler",
            {
                "clip_sample": False,
                "steps_offset": 1,
                "set_alpha_to_one": False,
                "beta_schedule": "scaled_linear",
                "beta_start": 0.00085,
                "beta_end": 0.012,
            },
        ),
        ("DDIMScheduler", {"prediction_type": "v_prediction", "timestep_spacing": "trailing", "clip_sample": False}),
        (
            "DDIMScheduler",
            {"prediction_type": "sample", "beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "linspace"},
        ),
        ("FlowMatchEulerDiscreteScheduler", {}),
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
    ],
)
def test_noise_becomes_what_the_librarys_scheduler_makes_of_it(kind, options):
    scheduler = getattr(diffusers, kind)(**options)
    scheduler.set_timesteps(7)
    noise = normal(2, 4, 8, 8)
    images = torch.from_numpy(noise)
    for time in scheduler.timesteps:
        said = torch.from_numpy(network(images.numpy(), float(time)))
        images = scheduler.step(said, time, images).prev_sample

    found = denoise(DenoisingRule({**scheduler.config, "_class_name": kind}), noise, network, steps=7)

    assert np.abs(found - images.numpy()).max() < 1e-4


def test_the_distance_is_that_of_the_unbiased_kernel():
    pairwise = pytest.importorskip("sklearn.metrics.pairwise", reason="needs scikit-learn")
    made, real = normal(9, 3, 16, 16), 2 * normal(7, 3, 16, 16, seed=1) + 1
    x, y = features(made, like=real), features(real, like=real)
    kernels = [pairwise.polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y))]
    own, among = ((k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels[:2])

    found = distance(made_images(made, real))

    assert found == pytest.approx(own + among - 2 * kernels[2].mean())


def test_images_that_are_alike_are_near_and_others_far():
    """Without bias it is about zero, and below it as often as above."""
    same = [
        distance(made_images(normal(30, 3, 16, 16, seed=n), normal(30, 3, 16, 16, seed=n + 100))) for n in range(10)
    ]
    smooth = np.repeat(np.repeat(normal(30, 3, 8, 8, seed=5), 2, 2), 2, 3)

    assert min(same) < 0 < max(same)
    assert distance(made_images(smooth, normal(30, 3, 16, 16, seed=6))) > 5 * max(map(abs, same))


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    """A denoising network with its scheduler, and a LoRA on it."""
    folder = tmp_path_factory.mktemp("painter")
    with judged.small_networks.quiet():
        torch.manual_seed(0)
        made = diffusers.UNet2DConditionModel(**TINY["UNet2DConditionModel"]).eval()
        made.save_pretrained(folder / "base")
        config = judged.peft.LoraConfig(r=2, target_modules=["to_q", "to_v", "to_out.0"])
        tuned = judged.peft.get_peft_model(made, config).eval()
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3)
        tuned.save_pretrained(folder / "delta")
    options = {"_class_name": "DDIMScheduler", "clip_sample": False}
    (folder / "base" / "scheduler_config.json").write_text(json.dumps(options))
    return judged.Judged(folder / "base", folder / "delta", tuned, None)


def painted(one, told, noise, *, base=False):
    """Have the library make images."""
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(3)
    images = torch.from_numpy(noise)
    with torch.no_grad():
        for time in scheduler.timesteps:
            asked = {"timestep": time, "encoder_hidden_states": torch.from_numpy(told)}
            if base:
                with one.network.disable_adapter():
                    said = one.network(images, **asked).sample
            else:
                said = one.network(images, **asked).sample
            images = scheduler.step(said, time, images).prev_sample
    return images.numpy()


def test_what_a_network_makes_is_what_it_makes_in_the_library(painter, cache_dir):
    told, real = normal(4, 5, 16, seed=2), normal(4, 4, 16, 16, seed=3)
    samples = Samples(arrays={"images": real, "encoder_hidden_states": told})
    case = painter.case(cache_dir, samples)
    noise = np.random.default_rng(case.suite.seed).standard_normal(real.shape, np.float32)
    wanted = [painted(painter, told, noise, base=base) for base in (False, True)]

    finding = judged.check(case, "image_distance", FEW, file="a.safetensors")

    found = [distance(made_images(images, real)) for images in wanted]
    assert finding.value == pytest.approx(found[0], rel=1e-3)
    assert finding.baseline == pytest.approx(found[1], rel=1e-3)


def test_a_network_that_denoises_nothing_has_no_such_measure(tmp_path, cache_dir):
    case = judged.encoder(tmp_path).case(cache_dir, Samples(arrays={"images": normal(2, 3, 8, 8)}))

    finding = judged.check(case, "image_distance", FEW, file="a.safetensors")

    assert (finding.verdict, finding.code) == ("fail", "missing_measure")
