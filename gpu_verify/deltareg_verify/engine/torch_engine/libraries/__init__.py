"""The libraries that write deltas, asked what a delta does. One library, one file.

They run in the child's sandbox, on a copy of the network, from tensors that were verified and a
config that a reader here has understood field by field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

from torch import nn

from deltareg.delta.kind import Effect
from deltareg_verify.engine.torch_engine.libraries.diffusers_library import load_by_diffusers, load_kohyas_by_diffusers
from deltareg_verify.engine.torch_engine.libraries.peft_library import load_by_peft
from deltareg_verify.engine.torch_engine.libraries.transformers_library import load_by_transformers


class LibraryLoader(Protocol):
    """Puts a delta onto a network by a library."""

    def __call__(self, network: nn.Module, folder: Path, effects: Sequence[Effect], /) -> nn.Module | None:
        """Return the library's network, ready to run; None where it does not take such a base.

        Args:
            network: A copy that may be changed.
            folder: The delta's folder.
            effects: The delta's effects, as read here.

        Raises:
            Exception: Whatever the library raises.
        """
        ...


@dataclass(frozen=True, slots=True)
class DeltaLibrary:
    """One library.

    Attributes:
        package: Its name for pip.
        load: Loads a delta by it; None where that is impossible here.
    """

    package: str
    load: LibraryLoader | None

    @property
    def version(self) -> str:
        """The installed version; empty when there is none."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return ""


LIBRARIES: Mapping[str, DeltaLibrary] = {
    "peft": DeltaLibrary("peft", load_by_peft),
    "transformers": DeltaLibrary("transformers", load_by_transformers),
    "diffusers": DeltaLibrary("diffusers", load_by_diffusers),
    "kohya": DeltaLibrary("diffusers", load_kohyas_by_diffusers),
    # Its releases ask for a transformers that is older than any this worker runs with.
    "adapters": DeltaLibrary("adapters", None),
}
"""By the name that a delta's files give of what wrote them."""


def list_installed() -> dict[str, str]:
    """Return the version of every library that can be asked here."""
    askable = (library for library in LIBRARIES.values() if library.load is not None)
    return {library.package: library.version for library in askable if library.version}
