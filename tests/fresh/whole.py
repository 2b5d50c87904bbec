"""Recipes of networks that are trained and saved whole, by transformers itself."""

from collections.abc import Callable
from typing import Any

from tests.fresh.anatomy import Anatomy
from tests.fresh.recipes import Random, Recipe
from tests.small_networks import torch


def _everything(_: Any, __: Anatomy, ___: Random) -> bool:
    return True


def _only(network: Any, wanted: Callable[[str], bool]) -> bool:
    """Freeze everything else; gives whether anything is left."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(wanted(name))
    return any(parameter.requires_grad for parameter in network.parameters())


def _biases(network: Any, _: Anatomy, __: Random) -> bool:
    return _only(network, lambda name: name.endswith("bias"))


def _head(network: Any, anatomy: Anatomy, _: Random) -> bool:
    top = anatomy.output or next(iter(anatomy.heads), "")
    return bool(top) and _only(network, lambda name: name.startswith(top))


def _untied(network: Any, anatomy: Anatomy, random: Random) -> bool:
    """Give every name that shares a tensor one of its own, and say so in the config."""
    if not _half_untied(network, anatomy, random):
        return False
    for name, parameter in network.named_parameters(remove_duplicate=False):
        path, _, own = name.rpartition(".")
        setattr(network.get_submodule(path), own, torch.nn.Parameter(parameter.detach().clone()))
    network.all_tied_weights_keys = {}
    return True


def _half_untied(network: Any, anatomy: Anatomy, _: Random) -> bool:
    """Say in the config that nothing is shared, and save what is shared once."""
    if not anatomy.is_tied:
        return False
    network.config.tie_word_embeddings = False
    network.config.get_text_config().tie_word_embeddings = False
    return True


def _by_config_alone(network: Any, anatomy: Anatomy, random: Random) -> bool:
    """The same, but where the class ties whatever its config says."""
    if hasattr(network.config, "scale_decoder_outputs"):
        return False
    return _half_untied(network, anatomy, random)


def _grown(network: Any, anatomy: Anatomy, random: Random) -> bool:
    """Add tokens."""
    if not anatomy.embedding:
        return False
    torch.manual_seed(int(random.integers(1 << 30)))
    network.resize_token_embeddings(anatomy.vocabulary + 3, mean_resizing=False)
    return True


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
    "all of it, untied by the config alone": Recipe(change=_by_config_alone, refused="missing_tensors"),
    "all of it, with new tokens": Recipe(change=_grown),
    "a head for other classes": Recipe(change=_other_classes),
}
