"""Folders on this machine: what they hold, and making them hold something else."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client import use_cases
from deltareg.client.pull.lock_file import LOCK_FILE
from deltareg.client.pull.outdated import find_outdated
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.lock_reports import LockReport, OutdatedReport, SyncReport
from deltareg.client.results.update_report import UpdateReport

if TYPE_CHECKING:
    from deltareg.client.results import reports


class Folders(Resource):
    """Folders of this machine, as far as a registry has to do with them."""

    __slots__ = ()

    def lint(self, path: AnyPath, *, base: str | None = None, convention: str = "") -> "reports.LintReport":
        """Say what a folder is and what is wrong with it; offline when the base is a folder."""
        return use_cases.lint.lint(self._context, Path(path), base=base, convention=convention)

    def convert(
        self, path: AnyPath, to: AnyPath, *, base: str | None = None, layout: str = "peft"
    ) -> "reports.ConvertReport":
        """Write what a folder holds in another layout; nothing in it is carried out.

        Args:
            path: The folder, or one file.
            to: The new folder.
            base: The base, as a folder or a name.
            layout: `peft`, which push takes, or `mlx`, `gguf`, `fused-experts`, `per-expert`.
        """
        return use_cases.convert.convert(self._context, Path(path), Path(to), base=base, layout=layout)

    def golden(self, path: AnyPath) -> "reports.GoldenReport":
        """Say what golden outputs a delta's folder has, and where they come from.

        Raises:
            NotFound: It has none.
        """
        return use_cases.golden.read_golden(Path(path))

    def update(self, folder: AnyPath, to: str, *, is_plan: bool = False) -> UpdateReport:
        """Make a folder that holds a version hold another one; only what differs travels."""
        return use_cases.update.update(self._context, Path(folder), to, is_plan=is_plan)

    def list_outdated(self, *paths: AnyPath, channel: str = "prod") -> OutdatedReport:
        """Hold folders that were pulled to against what a channel serves now, or the newest.

        Without any, those of the lock file in the working directory, or of the directory.
        """
        return find_outdated(self._context, [Path(path) for path in paths], channel=channel)

    def lock(
        self, file: AnyPath = LOCK_FILE, *, add: Sequence[tuple[str, AnyPath]] = (), drop: Sequence[AnyPath] = ()
    ) -> LockReport:
        """Write down which version stands in which folder; alone, what all references mean now."""
        additions = [(ref, str(folder)) for ref, folder in add]
        dropped = [str(folder) for folder in drop]
        return use_cases.sync.lock(self._context, Path(file), add=additions, drop=dropped)

    def sync(self, file: AnyPath = LOCK_FILE, *, frozen: bool = False, is_plan: bool = False) -> SyncReport:
        """Make the folders of a lock file what it says; see `SyncReport.is_drifted`."""
        return use_cases.sync.sync(self._context, Path(file), is_frozen=frozen, is_plan=is_plan)
