"""Versions of one base, each on the network that it makes of it; the base is loaded once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import open_folder
from deltareg.delta.kind import Account
from deltareg.identity.manifest import Manifest
from deltareg_verify.served import account_served, as_served
from deltareg_verify.sides import Side, SidesAssignment
from deltareg_verify.torch_engine import TorchEngine, class_with_place

Make = Callable[..., TorchEngine]
"""Makes the engine of a base's folder and of effects on it."""


@dataclass(frozen=True, slots=True)
class Served:
    """A version on its network.

    Attributes:
        account: What it does.
        engine: The network with it at hand.
        has_own_head: Whether the network is of another class than the base's, for a head that the
            version brings.
    """

    account: Account
    engine: TorchEngine
    has_own_head: bool


def serve_sides(assignment: SidesAssignment, base: BaseFolder, make: Make) -> dict[str, Served]:
    """Give each version of an assignment on its network.

    Raises:
        Refused: One cannot be read.
    """
    found: dict[str, Served] = {}
    for name, side in sorted(assignment.versions.items()):
        account = _account_of(side, base)
        folder = as_served(base, account)
        first = next(iter(found.values()), None)
        engine = (
            first.engine.beside(account.effects)
            if first is not None and folder.view.config == first.engine.config
            else make(folder, account.effects)
        )
        found[name] = Served(account, engine, _has_own_head(account, base))
    return found


def plain_engine(served: Mapping[str, Served], base: BaseFolder, make: Make) -> TorchEngine | None:
    """Give an engine whose base is the base itself; None where versions bring heads that it lacks.

    Args:
        served: The versions.
        base: Their base.
        make: Makes an engine where all versions make other networks of the base.
    """
    for one in served.values():
        if one.account.network_class is None:
            return one.engine
    return None if all(one.has_own_head for one in served.values()) else make(base, ())


def _has_own_head(account: Account, base: BaseFolder) -> bool:
    made, known = account.network_class, base.view.config.get("architectures")
    return made is not None and [made.architecture] != known


def _account_of(side: Side, base: BaseFolder) -> Account:
    manifest = Manifest.decode(side.manifest.read_bytes())
    folder = open_folder(side.delta, convention=str(manifest.config.get("convention", "")))
    return account_served(
        folder.files, folder.tensors, base.view, kind=manifest.kind, find_class=class_with_place
    )
