"""Versions of one base, each on its own network; the base is loaded once."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final

from pydantic import BaseModel

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import open_folder
from deltareg.delta.kind import Account
from deltareg.identity.manifest import Manifest
from deltareg.suites.suite import DEFAULT_SUITE, built_in
from deltareg_verify.child.delta_network import account_served, as_served
from deltareg_verify.child.sides import SideFiles, SidesAssignment
from deltareg_verify.engine.torch_engine import MemoryRoom, TorchEngine, class_with_place, environment, prepare_device
from deltareg_verify.messages.report import ReportWriter
from deltareg_verify.sandbox import layers

Make = Callable[..., TorchEngine]
"""Makes the engine of a base's folder and of effects on it."""
Find = Callable[[SidesAssignment, BaseFolder, Make], BaseModel]
"""Finds something out about versions on their base."""
_NO_BASE: Final = "the base is not to be had"


@dataclass(frozen=True, slots=True)
class VersionNetwork:
    """A version on its network.

    Attributes:
        account: The account of its tensors.
        engine: The network with the version at hand.
        has_own_head: Whether the network is of another class than the base's, for a head that the
            version brings.
    """

    account: Account
    engine: TorchEngine
    has_own_head: bool


def find_on_networks(assignment: SidesAssignment, out: BinaryIO, find: Find) -> None:
    """Enter the sandbox, open the base, run `find` on networks of it, and report its findings."""
    speaker = ReportWriter(out)
    os.environ["HOME"] = os.environ["TMPDIR"] = tempfile.tempdir = str(assignment.scratch)
    level = layers.enter(assignment.bounds())
    with speaker.giving_up():
        base = assignment.open_base()
        if base is None:
            speaker.give_up(_NO_BASE)
            return
        device = prepare_device(assignment.device, threads=assignment.threads)
        room = MemoryRoom(device, assignment.memory_bytes)
        suite = built_in(DEFAULT_SUITE)
        make = partial(TorchEngine, suite=suite, device=device, room=room)
        speaker.report_findings(find(assignment, base, make).model_dump())
        surroundings = {**environment(device), **room.environment()}
        speaker.end(dtype="", sandbox=level, environment=surroundings)


def serve_sides(assignment: SidesAssignment, base: BaseFolder, make: Make) -> dict[str, VersionNetwork]:
    """Return each version of an assignment on its network.

    Raises:
        Refused: A version cannot be read.
    """
    networks: dict[str, VersionNetwork] = {}
    for name, side in sorted(assignment.versions.items()):
        account = _account_of(side, base)
        folder = as_served(base, account)
        first = next(iter(networks.values()), None)
        engine = (
            first.engine.beside(account.effects)
            if first is not None and folder.view.config == first.engine.config
            else make(folder, account.effects)
        )
        networks[name] = VersionNetwork(account, engine, _has_own_head(account, base))
    return networks


def plain_engine(served: Mapping[str, VersionNetwork], base: BaseFolder, make: Make) -> TorchEngine | None:
    """Return an engine of the base itself; None where versions bring heads that it lacks.

    Args:
        served: The versions.
        base: Their base.
        make: Creates an engine where all versions make other networks of the base.
    """
    for one in served.values():
        if one.account.network_class is None:
            return one.engine
    return None if all(one.has_own_head for one in served.values()) else make(base, ())


def _has_own_head(account: Account, base: BaseFolder) -> bool:
    network_class, architectures = account.network_class, base.view.config.get("architectures")
    return network_class is not None and [network_class.architecture] != architectures


def _account_of(side: SideFiles, base: BaseFolder) -> Account:
    manifest = Manifest.decode(side.manifest.read_bytes())
    folder = open_folder(side.delta, convention=str(manifest.config.get("convention", "")))
    return account_served(folder.files, folder.tensors, base.view, kind=manifest.kind, find_class=class_with_place)
