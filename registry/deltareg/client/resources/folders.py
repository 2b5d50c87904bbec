"""Folders on this machine: what they hold, and putting other versions into them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deltareg.client import use_cases
from deltareg.client.config import LOCK_FILE
from deltareg.client.pull.outdated import find_outdated
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.lock_reports import LockReport, OutdatedReport, SyncReport
from deltareg.client.results.update_report import UpdateReport

if TYPE_CHECKING:
    from deltareg.client.results import reports
    from deltareg.client.results.extract_report import ExtractReport


class Folders(Resource):
    """The folders of this machine that a registry has to do with."""

    __slots__ = ()

    def lint(
        self, path: AnyPath, *, base: str | None = None, convention: str = "", trained_on: str | None = None
    ) -> "reports.LintReport":
        """Report what a folder is and what is wrong with it; offline if the base is a folder."""
        return use_cases.lint.lint(self._context, Path(path), base=base, convention=convention, trained_on=trained_on)

    def convert(
        self, path: AnyPath, to: AnyPath, *, base: str | None = None, layout: str = "peft"
    ) -> "reports.ConvertReport":
        """Convert a folder to another layout; no code in it is executed.

        Args:
            path: The source folder, or a single file.
            to: The folder to create.
            base: The base, as a folder or a name.
            layout: The target: `peft`, which push accepts, or `mlx`, `gguf`, `fused-experts`,
                `per-expert`.
        """
        return use_cases.convert.convert(self._context, Path(path), Path(to), base=base, layout=layout)

    def extract(
        self,
        source: AnyPath,
        to: AnyPath,
        *,
        base: str | None = None,
        rank: int | None = None,
        energy: float | None = None,
        keep: bool = False,
    ) -> "ExtractReport":
        """Write what a fine-tune changed as a LoRA, and state how far that is from it.

        Args:
            source: A version, or a folder.
            to: The folder to create.
            base: The base of a folder, as a folder or a name; a version knows its own.
            rank: The rank of every module; with `energy` the largest.
            energy: The share of ‖ΔW‖² that each module's factors hold; 0.9 without a rank.
            keep: Whether to save whole what has no factors: norms, biases, embeddings.
        """
        choice = use_cases.extract.choose_rank(rank, energy)
        return use_cases.extract.extract(self._context, source, Path(to), base=base, choice=choice, keep=keep)

    def golden(self, path: AnyPath) -> "reports.GoldenReport":
        """Report the golden outputs in a delta's folder, and where they come from.

        Raises:
            NotFound: The folder has none.
        """
        return use_cases.golden.read_golden(Path(path))

    def update(self, folder: AnyPath, to: str, *, is_plan: bool = False) -> UpdateReport:
        """Replace the version in a folder by another one; only what differs is transferred."""
        return use_cases.update.update(self._context, Path(folder), to, is_plan=is_plan)

    def list_outdated(self, *paths: AnyPath, channel: str = "prod") -> OutdatedReport:
        """Compare pulled folders with what a channel serves, or else with the newest version.

        By default these are the folders of the lock file in the working directory, or else those in
        it.
        """
        return find_outdated(self._context, [Path(path) for path in paths], channel=channel)

    def lock(
        self,
        file: AnyPath = LOCK_FILE,
        *,
        add: Sequence[tuple[str, AnyPath]] = (),
        drop: Sequence[AnyPath] = (),
        include: Sequence[str] = (),
    ) -> LockReport:
        """Lock references to versions in folders; without arguments, resolve all of them again.

        Folders that are added hold the files that `include` matches, or all.
        """
        additions = [(ref, str(folder)) for ref, folder in add]
        dropped = [str(folder) for folder in drop]
        return use_cases.sync.lock(self._context, Path(file), add=additions, drop=dropped, include=include)

    def sync(self, file: AnyPath = LOCK_FILE, *, frozen: bool = False, is_plan: bool = False) -> SyncReport:
        """Make folders match their lock file; see `SyncReport.is_drifted`."""
        return use_cases.sync.sync(self._context, Path(file), is_frozen=frozen, is_plan=is_plan)
