"""What the libraries do to a network: a recipe saves a folder, and loads it as its users do."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import small_networks
from tests.fresh.anatomy import Anatomy
from tests.fresh.inputs import Inputs
from tests.small_networks import torch

peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
Random = np.random.Generator
Config = Callable[[Anatomy, Random], Any]
Edit = Callable[[Path, Anatomy, Random], bool]
Change = Callable[[Any, Anatomy, Random], bool]
_STEP = 0.1


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to make a delta.

    Attributes:
        config: Gives peft's config; None for a network that it is not for.
        change: Readies a whole network for training; false where there is nothing to train.
        edit: What happens to the saved folder, false if nothing can; the library loads the result.
        refused: The code that has to refuse it; empty where it has to be right.
    """

    config: Config | None = None
    change: Change | None = None
    edit: Edit | None = None
    refused: str = ""

    def saved(self, network: Any, anatomy: Anatomy, random: Random, inputs: Inputs, folder: Path) -> bool:
        """Save a delta of a network; false where the recipe is not for it."""
        if self.change is not None:
            if not self.change(network, anatomy, random):
                return False
            disturb(network, random, inputs)
            network.save_pretrained(folder)
        elif self.config is not None:
            config = self.config(anatomy, random)
            if config is None:
                return False
            model = peft.get_peft_model(network, config)
            disturb(model, random, inputs)
            model.save_pretrained(folder)
        return True

    def loaded(self, cls: Any, base: Path, delta: Path) -> Any:
        """Load base and delta as the library does."""
        if self.change is not None:
            return cls.from_pretrained(delta, dtype=torch.float32).eval()
        network = cls.from_pretrained(base, dtype=torch.float32)
        return peft.PeftModel.from_pretrained(network, delta).eval()


def disturb(model: Any, random: Random, inputs: Inputs) -> None:
    """Add noise to what training would change: what is trainable and gets a gradient."""
    torch.manual_seed(int(random.integers(1 << 30)))
    reached = _reached(model, inputs)
    with torch.no_grad():
        for parameter in model.parameters():
            if id(parameter) in reached:
                parameter.add_(_STEP * torch.randn_like(parameter))


def _reached(model: Any, inputs: Inputs) -> set[int]:
    """Give the parameters that get a gradient; all that may where the network gives no loss."""
    real = [p for p in model.parameters() if p.requires_grad and p.is_floating_point()]
    result = model(**inputs)
    ends = [v.sum() for v in result.values() if isinstance(v, torch.Tensor) and v.requires_grad]
    if not ends:
        return {id(parameter) for parameter in real}
    try:
        torch.stack([end.float() for end in ends]).sum().backward()
    except RuntimeError:  # RWKV writes over what it needs
        return {id(parameter) for parameter in real}
    found = {id(parameter) for parameter in real if parameter.grad is not None}
    model.zero_grad()
    return found


def quiet() -> Any:
    """Keep the libraries from warning of what is wanted here."""
    return small_networks.quiet()
