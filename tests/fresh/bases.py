"""The bases of fresh deltas: small networks with random numbers everywhere, by name."""

from typing import Any

import numpy as np

from tests import small_networks
from tests.fresh.among_words import AMONG_WORDS, HEARD
from tests.fresh.inputs import Inputs
from tests.fresh.media import IMAGES, PAIRS, SEVERAL, SOUNDS
from tests.fresh.mixtures import MIXTURES
from tests.fresh.modalities import BESIDE_WORDS, IN_TIME, MOVING, SEEN
from tests.fresh.text import DECODERS, DOUBLE, ENCODERS, Table
from tests.small_networks import off_defaults, torch, transformers

BASES: Table = {
    **small_networks.NETWORKS,
    **ENCODERS,
    **DECODERS,
    **DOUBLE,
    **MIXTURES,
    **IMAGES,
    **SOUNDS,
    **SEVERAL,
    **PAIRS,
    **AMONG_WORDS,
    **HEARD,
    **SEEN,
    **MOVING,
    **IN_TIME,
    **BESIDE_WORDS,
}


def class_of(name: str) -> Any:
    """Give a base's class."""
    return getattr(transformers, BASES[name][0])


def architecture(name: str) -> str:
    """Give the model type of a base, which is what counts as one architecture."""
    return str(class_of(name).config_class.model_type)


def made(name: str, *, seed: int = 0) -> Any:
    """Make a base in float32; no vector and no running statistic of it is at its default."""
    torch.manual_seed(seed)
    cls, options = class_of(name), BASES[name][1]
    return off_defaults(cls(cls.config_class(**options)).float().eval())


def outputs(network: Any, inputs: Inputs) -> dict[str, np.ndarray[Any, Any]]:
    """Run a network and give what comes out in floating numbers, by name."""
    with small_networks.quiet(), torch.no_grad():
        result = network(**inputs)
    return {
        name: np.atleast_1d(value.float().numpy())
        for name, value in result.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }
