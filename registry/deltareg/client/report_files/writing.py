"""Report files: where each goes, and writing them, whole or not at all."""

import os
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

from deltareg.client.disk.kept_files import out_of_space
from deltareg.client.report_files.facts import GateReport
from deltareg.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """The path of each form of a report; None for a form that is not wanted."""

    junit: Path | None = None
    md: Path | None = None
    json: Path | None = None
    html: Path | None = None

    @property
    def requested(self) -> dict[str, Path]:
        """The wanted forms, with their paths."""
        return {f.name: path for f in fields(self) if (path := getattr(self, f.name)) is not None}

    @property
    def has_diff(self) -> bool:
        """Whether a wanted form shows the comparison, which reads tensors."""
        return bool(self.requested.keys() - {"junit"})

    @property
    def has_history(self) -> bool:
        """Whether a wanted form shows the measures of earlier versions."""
        return bool(self.requested.keys() & {"json", "html"})

    def check(self) -> None:
        """Check before any work is done that the files can be written.

        Raises:
            InvalidInput: Two paths are the same, one is a folder, or a folder cannot be written to.
        """
        paths = [path.absolute() for path in self.requested.values()]
        for path in paths:
            if paths.count(path) > 1:
                raise InvalidInput(f"two reports would go to {path}", fix="name a file for each")
            if path.is_dir():
                raise InvalidInput(f"{path} is a folder", fix=f"name a file: {path / 'report'}")
            _check_folder(path.parent)


def write_reports(report: GateReport, paths: ReportPaths) -> None:
    """Write every wanted form; each file is replaced as a whole or not at all."""
    for form, path in paths.requested.items():
        write_whole(path, _text(report, form))


def write_whole(path: Path, text: str) -> None:
    """Write a file under a temporary name, sync it, and rename it into place.

    Raises:
        InvalidInput: The file cannot be written.
        DiskFull: The disk is full.
    """
    path = path.absolute()
    _check_folder(path.parent)
    try:
        with out_of_space(path.parent):
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.")
            draft = Path(name)
            try:
                with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                draft.chmod(0o644)  # who reads it may be another user of the CI machine
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _text(report: GateReport, form: str) -> str:
    # Loaded when one is written: forms that nobody asked for cost nothing.
    if form == "junit":
        from deltareg.client.report_files.junit import to_junit

        return to_junit(report)
    if form == "md":
        from deltareg.client.report_files.markdown import to_markdown

        return to_markdown(report)
    if form == "json":
        from deltareg.client.report_files.document import to_json

        return to_json(report)
    from deltareg.client.report_files.html import to_html

    return to_html(report)


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidInput(f"{folder} cannot be written to", fix="name a folder that you may write to")


def _unwritable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"{path} cannot be written: {error.strerror}", fix="name a file that you may write")
