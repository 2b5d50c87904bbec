"""From noise to images in a few steps, deterministically: nothing is drawn on the way.

It denoises what the network works on: latents or pixels. The rule is that of the base's scheduler,
read from its `scheduler_config.json`: DDIM without noise (Song et al., 2020, arXiv 2010.02502, eq.
12) for networks that predict noise, images or velocities; Euler's (Lipman et al., 2022, arXiv
2210.02747) for those that predict a flow.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from deltareg.errors import InvalidInput
from deltareg_verify.engine.engine import F32, F64

Predict = Callable[[F32, float], F32]
Config = Mapping[str, object]
_TRAINED_STEPS = 1000


@dataclass(frozen=True, slots=True)
class DenoisingRule:
    """How to run a network from noise to images.

    Attributes:
        config: The scheduler's config.
    """

    config: Config

    @property
    def is_flow(self) -> bool:
        """Whether the network predicts a flow from images to noise."""
        return str(self.config.get("_class_name", "")).startswith("FlowMatch")

    def number(self, name: str, default: float) -> float:
        """Return a number of the config."""
        value = self.config.get(name)
        return float(value) if isinstance(value, (int, float)) else default


def denoise(rule: DenoisingRule, noise: F32, predict: Predict, *, steps: int) -> F32:
    """Run from noise to images.

    Args:
        rule: The base's rule.
        noise: (n, channels, …): normal numbers.
        predict: Runs the network on the current images and a time.
        steps: How many times it runs.

    Raises:
        InvalidInput: The scheduler's config has a setting that is unknown here.
    """
    run = _euler if rule.is_flow else _ddim
    return run(rule, noise, predict, steps)


def _euler(rule: DenoisingRule, noise: F32, predict: Predict, steps: int) -> F32:
    if rule.config.get("use_dynamic_shifting"):
        raise InvalidInput("the base's scheduler shifts by the size of an image, not known here")
    trained, shift = rule.number("num_train_timesteps", _TRAINED_STEPS), rule.number("shift", 1.0)
    ends = _shift_levels(np.array([1.0, 1 / trained]), shift)
    evenly: F64 = np.linspace(float(ends[0]), float(ends[1]), steps)
    levels = [*_shift_levels(evenly, shift).tolist(), 0.0]
    images = noise
    for level, following in pairwise(levels):
        flow = predict(images, level * trained)
        images = (images + (following - level) * flow).astype(np.float32)
    return images


def _shift_levels(levels: F64, shift: float) -> F64:
    shifted: F64 = shift * levels / (1 + (shift - 1) * levels)
    return shifted


def _ddim(rule: DenoisingRule, noise: F32, predict: Predict, steps: int) -> F32:
    alphas = np.cumprod(1 - _betas(rule))
    trained, images = len(alphas), noise
    if steps > trained:
        raise InvalidInput(f"{steps} steps are more than the {trained} of the base's scheduler")
    last = 1.0 if rule.config.get("set_alpha_to_one", True) else float(alphas[0])
    for time in _times(rule, trained, steps):
        before = time - trained // steps
        now, then = float(alphas[time]), float(alphas[before]) if before >= 0 else last
        clean, noisy = _parts(rule, images, predict(images, float(time)), now)
        images = (math.sqrt(then) * clean + math.sqrt(1 - then) * noisy).astype(np.float32)
    return images


def _parts(rule: DenoisingRule, images: F32, predicted: F32, kept: float) -> tuple[F64, F64]:
    """Split images into clean image and noise, by the network's prediction."""
    signal, noise = math.sqrt(kept), math.sqrt(1 - kept)
    given, prediction = images.astype(np.float64), predicted.astype(np.float64)
    kind = rule.config.get("prediction_type", "epsilon")
    match kind:
        case "epsilon":
            clean, noisy = (given - noise * prediction) / signal, prediction
        case "sample":
            clean, noisy = prediction, (given - signal * prediction) / noise
        case "v_prediction":
            clean, noisy = signal * given - noise * prediction, signal * prediction + noise * given
        case _:
            raise InvalidInput(f"the base's scheduler says that it predicts {kind!r}")
    if rule.config.get("clip_sample", True):
        most = rule.number("clip_sample_range", 1.0)
        clean = np.clip(clean, -most, most)
    return clean, noisy


def _betas(rule: DenoisingRule) -> F64:
    trained = int(rule.number("num_train_timesteps", _TRAINED_STEPS))
    start, end = rule.number("beta_start", 1e-4), rule.number("beta_end", 0.02)
    kind = rule.config.get("beta_schedule", "linear")
    match kind:
        case "linear":
            return np.linspace(start, end, trained)
        case "scaled_linear":
            roots: F64 = np.linspace(math.sqrt(start), math.sqrt(end), trained) ** 2
            return roots
        case "squaredcos_cap_v2":
            at = np.arange(trained + 1) / trained
            bar = np.cos((at + 0.008) / 1.008 * np.pi / 2) ** 2
            capped: F64 = np.minimum(1 - bar[1:] / bar[:-1], 0.999)
            return capped
        case _:
            raise InvalidInput(f"the base's scheduler has betas of {kind!r}, not known here")


def _times(rule: DenoisingRule, trained: int, steps: int) -> list[int]:
    match rule.config.get("timestep_spacing", "leading"):
        case "trailing":
            return [round(at) - 1 for at in np.arange(trained, 0, -trained / steps)]
        case "linspace":
            return [round(at) for at in np.linspace(0, trained - 1, steps)[::-1]]
        case _:
            offset = int(rule.number("steps_offset", 0))
            return [number * (trained // steps) + offset for number in reversed(range(steps))]
