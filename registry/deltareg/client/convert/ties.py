"""Weights that two modules share, which layouts and programs treat differently."""

from collections.abc import Iterable

from deltareg.client.convert.lora import AdaptedModule
from deltareg.delta.kind import BaseView
from deltareg.errors import Problem, Refused


def check_untied(modules: Iterable[AdaptedModule], base: BaseView, who: str) -> None:
    """Refuse factors on a weight that another module shares.

    Args:
        modules: The modules.
        base: The base.
        who: The program that reads the other layout.

    Raises:
        Refused: A factor is on a tied embedding or head.
    """
    for module in modules:
        if len(base.names.sharers(module.target)) > 1:
            message = (
                f"{module.module} shares its weight with another module: {who} changes both by"
                " these factors, and peft only the one that they are on"
            )
            fix = "leave it out of what is trained, or untie the base's weights"
            raise Refused([Problem("unknown_kind", message, tensor=module.a.name, fix=fix)])
