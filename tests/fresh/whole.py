"""Recipes of networks that are trained and saved whole, by transformers itself."""

from typing import Any

from tests.fresh.anatomy import Anatomy
from tests.fresh.recipes import Random, Recipe, disturb
from tests.small_networks import torch


def _everything(network: Any, _: Anatomy, random: Random) -> bool:
    return disturb(network, random)


def _biases(network: Any, _: Anatomy, random: Random) -> bool:
    return disturb(network, random, wanted=lambda name: name.endswith("bias"))


def _head(network: Any, anatomy: Anatomy, random: Random) -> bool:
    top = anatomy.output or next(iter(anatomy.heads), "")
    return bool(top) and disturb(network, random, wanted=lambda name: name.startswith(top))


def _untied(network: Any, anatomy: Anatomy, random: Random) -> bool:
    """Give every name that shares a tensor one of its own, and say so in the config."""
    if not anatomy.is_tied:
        return False
    for name, parameter in network.named_parameters(remove_duplicate=False):
        path, _, own = name.rpartition(".")
        setattr(network.get_submodule(path), own, torch.nn.Parameter(parameter.detach().clone()))
    network.config.tie_word_embeddings = False
    network.config.get_text_config().tie_word_embeddings = False
    network.all_tied_weights_keys = {}
    idle = {f".{name}" for name in (network._tied_weights_keys or {}).values() if "bias" in name}
    # Where the class uses one of two biases that were one, training leaves the other as it was.
    return disturb(network, random, wanted=lambda n: not f".{n}".endswith(tuple(idle)))


def _half_untied(network: Any, anatomy: Anatomy, random: Random) -> bool:
    """Say in the config that nothing is shared, and save what is shared once."""
    if not anatomy.is_tied:
        return False
    network.config.tie_word_embeddings = False
    network.config.get_text_config().tie_word_embeddings = False
    return disturb(network, random)


def _grown(network: Any, anatomy: Anatomy, random: Random) -> bool:
    """Add tokens."""
    if not anatomy.embedding:
        return False
    network.resize_token_embeddings(anatomy.vocabulary + 3, mean_resizing=False)
    return disturb(network, random)


def _other_classes(network: Any, anatomy: Anatomy, random: Random) -> bool:
    """Put on a head for other classes."""
    if "classifier" not in anatomy.heads or type(network.classifier) is not torch.nn.Linear:
        return False
    old = network.classifier
    torch.manual_seed(int(random.integers(1 << 30)))
    network.classifier = torch.nn.Linear(old.in_features, 5, bias=old.bias is not None)
    network.config.num_labels, network.num_labels = 5, 5
    return True


WHOLE: dict[str, Recipe] = {
    "all of it": Recipe(change=_everything),
    "its biases": Recipe(change=_biases),
    "its head": Recipe(change=_head),
    "all of it, untied": Recipe(change=_untied),
    "all of it, untied by the config alone": Recipe(
        change=_half_untied, refused="missing_tensors"
    ),
    "all of it, with new tokens": Recipe(change=_grown),
    "a head for other classes": Recipe(change=_other_classes),
}
