"""A delta on the network that it is for: a new head needs the class that has a place for it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.delta.delta_manifest import assess
from deltareg.delta.kind import Account, Addition, BaseView, DeltaFiles, NetworkClass, Tensors
from deltareg.delta.network_class import view_as

FindClass = Callable[[BaseView, Sequence[Addition]], NetworkClass | None]


def account_served(
    files: DeltaFiles, tensors: Tensors, base: BaseView, *, find_class: FindClass, kind: str = "auto"
) -> Account:
    """Account for a delta by the tensor names of the network that it makes of its base.

    Args:
        files: Headers and documents of the delta.
        tensors: Its tensors by name.
        base: The base.
        find_class: Finds a class with a place for a head where no config tells its class.
        kind: The kind that the delta must have, or `auto`.

    Raises:
        Refused: As `assess` does.
    """
    account = assess(files, tensors, base, kind=kind).account
    network_class = account.network_class
    if network_class is None:
        heads = [effect for effect in account.effects if isinstance(effect, Addition)]
        network_class = find_class(base, heads) if heads else None
    if network_class is None:
        return account
    again = assess(files, tensors, view_as(base, network_class), kind=kind).account
    return replace(again, network_class=network_class)


def as_served(base: BaseFolder, account: Account) -> BaseFolder:
    """Return a base as the network of an account sees it."""
    network_class = account.network_class
    return base if network_class is None else replace(base, view=view_as(base.view, network_class))
