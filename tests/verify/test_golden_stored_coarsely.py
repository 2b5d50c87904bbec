"""What was trained in float32 and stored in fewer bits is found again; what was altered as well is not.

The oracle is peft, which trained the delta and computed its outputs before anything was rounded.
"""

import pytest
from safetensors.torch import load_file, save_file

peft = pytest.importorskip("peft", reason="needs peft: pip install 'deltareg[libraries]'")
torch = pytest.importorskip("torch")

from tests.verify.test_golden import checked  # noqa: E402  # torch may not be there
from tests.verify.trained_loras import copied, train  # noqa: E402

WEIGHTS = "adapter_model.safetensors"
pytestmark = pytest.mark.filterwarnings("ignore")  # what peft says of saved heads


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(folder / "delta", modules_to_save=["lm_head"])
    return folder / "delta"


def unaltered(_, value):
    return value


@pytest.fixture
def judged(trained, tmp_path, cache_dir):
    """Alter the tensors, store them in a dtype, and give the finding."""

    def judge(dtype, alter=unaltered):
        delta = copied(trained, tmp_path / "delta")
        tensors = {n: alter(n, v).to(dtype).contiguous() for n, v in load_file(delta / WEIGHTS).items()}
        save_file(tensors, delta / WEIGHTS, metadata={"format": "pt"})
        return checked(delta, cache_dir)[1]

    return judge


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_rounding_alone_passes(judged, dtype):
    result = judged(dtype)

    assert result.verdict == "pass", result.detail


def scaled(name, value):
    return value * 1.05 if "lora_B" in name else value


def noisy(_, value):
    return value + 0.05 * value.std() * torch.randn(value.shape, generator=torch.Generator().manual_seed(1))


def coarser(_, value):
    return (value * 16 / value.abs().max()).round() / 16 * value.abs().max()


def without_last_rank(name, value):
    kept = value.clone()
    if "lora_A" in name:
        kept[-1] = 0
    return kept


def one_sign(name, value):
    return -value if "layers.0" in name and "q_proj.lora_B" in name else value


@pytest.mark.parametrize("alter", [scaled, noisy, coarser, without_last_rank, one_sign])
def test_what_was_altered_too_fails(judged, alter):
    result = judged(torch.bfloat16, alter)

    assert (result.verdict, result.code) == ("fail", "golden_differs"), result
