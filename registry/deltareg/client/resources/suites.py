"""Suites: read from files, completed with the digests of their files, and pushed."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from deltareg.client import use_cases
from deltareg.client.asking.suites import fetch_suite_file, show_suite, suite_path
from deltareg.client.resources.resource import AnyPath, Resource
from deltareg.client.results.listing import Listing
from deltareg.digest import Digest, sha256_of
from deltareg.documents.yaml_document import read_yaml, write_yaml
from deltareg.errors import IntegrityFailure, InvalidInput, NotFound
from deltareg.identity.manifest import canonical_json
from deltareg.suites.catalogue import CATALOGUE, CheckForm
from deltareg.suites.consistency import refuse_contradictions
from deltareg.suites.document import normalise
from deltareg.suites.lint import LintFinding, lint
from deltareg.suites.lm_task import asked_of, fill_task, read_task
from deltareg.suites.probe_set import Samples, read_samples
from deltareg.suites.samples import lacking
from deltareg.suites.suite import CheckSpec, ProbeSet, Suite, parse_suite, read_stored_suite
from deltareg.tensors.header import strict_json_object
from deltareg.wire import Page, SuiteInfo, SuitePush, request_of
from deltareg.wire.suites import describe_parsed

if TYPE_CHECKING:
    from deltareg.client.compare.line_history import LineHistory
    from deltareg.client.drafting.draft_suite import SuiteDrafting

_MOST_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class KnownCheck:
    """A check that a suite may name."""

    name: str
    form: CheckForm

    @property
    def document(self) -> dict[str, object]:
        """Return the check as plain values."""
        form = self.form
        return {
            "name": self.name,
            "about": form.about,
            "parameters": dict(form.parameters),
            "probes": list(form.probes),
            "against": list(form.against),
            "choices": {name: list(words) for name, words in form.choices.items()},
            "takes_threshold": form.takes_threshold,
            "may_not_apply": form.may_not_apply,
        }


class Suites(Resource):
    """The suites that versions are verified with."""

    __slots__ = ()

    def list(self) -> Listing[SuiteInfo]:
        """List all suites, in their current versions."""
        return self._list("/suites", Page[SuiteInfo])

    def show(self, name: str, *, digest: str | None = None) -> SuiteInfo:
        """Show a suite with its document: the current version, or the one with a given digest."""
        return show_suite(self._context, name, digest=digest)

    def versions(self, name: str, *, cursor: str | None = None, limit: int = 50) -> Listing[SuiteInfo]:
        """List the versions of a suite, newest first."""
        path = f"{suite_path(name)}/versions"
        return self._list(path, Page[SuiteInfo], cursor=cursor, limit=limit)

    def push(self, path: AnyPath) -> SuiteInfo:
        """Push the suite in a YAML file, with the files of its probe sets beside it.

        Raises:
            NotFound: The file, or one that it names, does not exist.
            InvalidInput: The file is not a suite, or a check has too few samples for its threshold.
        """
        suite, files = read_suite_file(Path(path))
        encoded = {name: base64.b64encode(raw).decode() for name, raw in files.items()}
        request = request_of(SuitePush, document=suite.document.decode(), files=encoded)
        return self._context.api.post("/suites", request, SuiteInfo)

    def look(self, path: AnyPath) -> SuiteInfo:
        """Read and check what `push` would push, without sending anything."""
        suite, _ = read_suite_file(Path(path))
        refuse_contradictions(suite)
        return describe_parsed(suite, is_built_in=False)

    def lint(self, path: AnyPath) -> tuple[Suite, Sequence[LintFinding]]:
        """Check the suite in a YAML file; return it and what is wrong with it, errors first.

        Raises:
            NotFound: The file, or one that it names, does not exist.
            InvalidInput: The file is not a suite, or a check has too few samples for its threshold.
        """
        suite, files = read_suite_file(Path(path))
        return suite, lint(suite, _samples_of(suite, files))

    def sizes(self, path: AnyPath) -> Mapping[str, int]:
        """Return the number of samples of each probe set of a YAML file's suite, by name."""
        suite, files = read_suite_file(Path(path))
        return {name: len(found) for name, found in _samples_of(suite, files).items()}

    @property
    def drafting(self) -> "SuiteDrafting":
        """Drafts suites from your own data."""
        return use_cases.draft_suite.SuiteDrafting(self._context)

    @property
    def history(self) -> "LineHistory":
        """Brings the versions of a line here, to try a suite on them."""
        return use_cases.line_history.LineHistory(self._context)

    def checks(self) -> Sequence[KnownCheck]:
        """List the checks that a suite may name, in the best order to run them."""
        return [KnownCheck(name, form) for name, form in CATALOGUE.items()]

    def as_yaml(self, suite: SuiteInfo) -> str:
        """Format a suite as YAML, every default filled in; pushed again, it is the same suite."""
        return write_yaml(strict_json_object(suite.document.encode()))

    def fetch(self, name: str, digest: str) -> Suite:
        """Fetch the version of a suite with a given digest.

        Raises:
            IntegrityFailure: The server sent another suite.
        """
        suite = read_stored_suite(self.show(name, digest=digest).document.encode())
        if str(suite.digest) != digest:
            raise IntegrityFailure(f"suite {name} came as {suite.digest}, not {digest}")
        return suite

    def fetch_file(self, digest: Digest) -> bytes:
        """Fetch the file of a probe set.

        Raises:
            IntegrityFailure: The server sent other bytes.
        """
        return fetch_suite_file(self._context, digest)


def read_suite_file(path: Path) -> tuple[Suite, dict[str, bytes]]:
    """Read a suite's file and the files it names; return the suite with digests, and their bytes.

    Raises:
        NotFound: A file does not exist.
        InvalidInput: A file is malformed.
    """
    fields = normalise(read_yaml(_read(path), what="suite"))
    sets = cast("dict[str, dict[str, object]]", fields["sets"])
    files: dict[str, bytes] = {}
    for name, item in sets.items():
        if "file" in item:
            raw = _read(path.parent / str(item["file"]))
            _check_digest(item, sha256_of(raw))
            own = _task_files(path.parent, str(item["file"]), raw)
            sets[name] = _with_digests(item, raw, own)
            files |= {str(item["file"]): raw, **own}
    if sum(map(len, files.values())) > _MOST_BYTES:
        raise InvalidInput(f"the files of a suite have at most {_MOST_BYTES >> 20} MiB in all")
    suite = parse_suite(canonical_json(fields))
    _check_samples(suite, files)
    return suite, files


def _samples_of(suite: Suite, files: Mapping[str, bytes]) -> dict[str, Samples]:
    return {name: read_samples(one, files.get(one.file, b"")) for name, one in suite.sets.items() if not one.is_task}


def _check_samples(suite: Suite, files: Mapping[str, bytes]) -> None:
    for spec in suite.checks:
        probe_set = suite.sets.get(spec.probes)
        if probe_set is None:
            continue
        if probe_set.is_task:
            _check_count(spec, _rows_asked(spec, probe_set, files))
            continue
        samples = read_samples(probe_set, files.get(probe_set.file, b""))
        lost = None if spec.form is None else lacking(spec.form, samples)
        if lost is not None:
            file = probe_set.file or probe_set.name
            message = f"check {spec.name} needs {lost[0]}, and {file} has none"
            raise InvalidInput(message, fix=lost[1])
        _check_count(spec, len(samples))


def _check_count(spec: CheckSpec, count: int) -> None:
    least = int(spec.parameters.get("least_samples", 0))
    if spec.threshold is not None and count < least:
        raise InvalidInput(
            f"check {spec.name} has {count} samples, too few for a threshold",
            fix=f"bring {least} or more, or set the parameter least_samples",
        )


def _rows_asked(spec: CheckSpec, probe_set: ProbeSet, files: Mapping[str, bytes]) -> int:
    """Check that a check fits its task, and return how many of the task's rows it uses."""
    task = read_task(files[probe_set.file], probe_set.file)
    return asked_of(spec, fill_task(task, files.__getitem__)).limit


def _task_files(folder: Path, name: str, raw: bytes) -> dict[str, bytes]:
    """Read the data files that a task of lm-eval names, which lie beside it."""
    if not name.endswith(".yaml"):
        return {}
    return {data: _read(folder / data) for data in read_task(raw, name).file_names}


def _with_digests(item: Mapping[str, object], raw: bytes, own: Mapping[str, bytes]) -> dict[str, object]:
    """Complete a probe set with the digests of its files."""
    digests = cast("Mapping[str, str]", item.get("data", {}))
    for name, content in own.items():
        _check_digest({"file": name, "digest": digests.get(name)}, sha256_of(content))
    completed: dict[str, object] = {"file": item["file"], "digest": str(sha256_of(raw))}
    data = {name: str(sha256_of(content)) for name, content in own.items()}
    return completed | ({"data": data} if data else {})


def _check_digest(item: Mapping[str, object], found: Digest) -> None:
    if (item.get("digest") or str(found)) != str(found):
        raise InvalidInput(
            f"{item['file']} is {found}, the suite says {item['digest']}",
            fix="leave `digest` out to take the file as it is",
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", fix="name a suite's YAML file") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
