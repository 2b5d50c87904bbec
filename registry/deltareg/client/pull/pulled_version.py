"""A pulled version, opened: its files, and what it does to the base."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from deltareg.client.folders.folder import Folder, open_folder
from deltareg.client.pull.fetching import PulledVersion
from deltareg.delta.delta_manifest import assess
from deltareg.delta.kind import BaseView, Effect
from deltareg.errors import IntegrityFailure
from deltareg.wire import VersionDetail


@dataclass(frozen=True, slots=True)
class OpenVersion:
    """A version whose files are open.

    Attributes:
        version: The version on the server.
        folder: Its files.
        effects: Everything that it does to the base.
    """

    version: VersionDetail
    folder: Folder
    effects: list[Effect]


@contextmanager
def open_version(pulled: PulledVersion, view: BaseView) -> Generator[OpenVersion, None, None]:
    """Open a pulled version for the length of the block.

    Raises:
        IntegrityFailure: This release refuses a version that another release accepted.
    """
    convention = str(pulled.version.config.get("convention", ""))
    with open_folder(pulled.path, convention=convention) as folder:
        assessment = assess(folder.files, folder.tensors, view)
        if assessment.errors:
            message = f"{pulled.version.ref} is refused now: {assessment.errors[0].message}"
            raise IntegrityFailure(message, fix="update the client: deltareg version")
        yield OpenVersion(pulled.version, folder, list(assessment.account.effects))
