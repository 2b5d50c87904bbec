"""Prepares a comparison of what two versions do, and keeps its answers.

The comparison itself needs torch and runs in a process of its own. Its answer depends only on the
digests here, so it is kept and returned again.
"""

import json
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from pathlib import Path

from deltareg.client.asking.resolving import base_path, fetch_manifest, resolve
from deltareg.client.asking.suites import fetch_suite_file, show_suite
from deltareg.client.context import Context
from deltareg.client.pull.base_fetching import fetch_base
from deltareg.client.pull.fetching import fetch, trim
from deltareg.digest import sha256_of
from deltareg.documents.json_values import is_object, parse_json
from deltareg.errors import InvalidInput, NotFound
from deltareg.identity.manifest import canonical_json
from deltareg.refs import Ref
from deltareg.suites.suite import Suite, read_stored_suite
from deltareg.wire import BaseInfo, VersionDetail

BASE = "base"
_FORM = "behavior-2"
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class BehaviorOptions:
    """What to compare two versions on, and how.

    Attributes:
        suite: The name of a suite whose probe sets are the inputs.
        prompts: A file of your own, used instead of the suite.
        tokens: How many tokens the prompts that differ most are continued by.
        top: How many prompts to report.
        device: `cpu`, `cuda:N` or `auto`.
    """

    suite: str | None = None
    prompts: Path | None = None
    tokens: int = 32
    top: int = 10
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class PlannedComparison:
    """A comparison that is ready to be made.

    Attributes:
        a: The version before, or the version whose base alone is meant.
        b: The version after.
        inputs: What to compare them on.
        suite: The suite, in its current version.
        is_base: For each of the two, whether its base alone is meant.
        key: Digest of everything that the answer depends on.
    """

    a: VersionDetail
    b: VersionDetail
    inputs: BehaviorOptions
    suite: Suite | None
    is_base: tuple[bool, bool]
    key: str

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two sides."""
        a, b = (one.base.name if alone else one.ref for one, alone in zip((self.a, self.b), self.is_base, strict=True))
        return a, b


@dataclass(frozen=True, slots=True)
class Behavior:
    """Compares what versions do."""

    context: Context

    def ask(self, a: str, b: str, inputs: BehaviorOptions) -> PlannedComparison:
        """Plan a comparison of two versions; nothing is fetched yet.

        Args:
            a: The version before; a bare `ns/name` means its newest version, `base` the base of b.
            b: The version after, or `base`.
            inputs: What to compare them on.

        Raises:
            InvalidInput: Both are `base`.
            NotFound: A version, the suite or the file does not exist.
        """
        if a == b == BASE:
            raise InvalidInput("both are the base", fix="name a version beside it: NS/NAME:v1 base")
        one, two = (None if x == BASE else self._version(x) for x in (a, b))
        before, after = one or two, two or one
        assert before is not None
        assert after is not None
        suite = None
        if inputs.suite is not None:
            suite = read_stored_suite(show_suite(self.context, inputs.suite).document.encode())
        is_base = (a == BASE, b == BASE)
        key = _key((before, after), is_base, inputs, suite)
        return PlannedComparison(before, after, inputs, suite, is_base, key)

    def find_answer(self, question: PlannedComparison) -> Fields | None:
        """Return the answer if the same comparison was made before, else None."""
        raw = self.context.cache.note(question.key)
        try:
            answer: object = None if raw is None else parse_json(raw)
        except ValueError:
            return None
        return answer if is_object(answer) else None

    def keep(self, question: PlannedComparison, answer: Fields) -> None:
        """Keep an answer."""
        self.context.cache.keep_note(question.key, json.dumps(answer, allow_nan=False).encode())

    @contextmanager
    def at_hand(self, question: PlannedComparison) -> Generator[Fields, None, None]:
        """Fetch versions, bases and probe sets, and yield the request for the process."""
        with ExitStack() as stack, self.context.cache.draft() as draft:
            draft.mkdir()
            a, b = (
                self._side(version, stack, is_base=alone)
                for version, alone in zip((question.a, question.b), question.is_base, strict=True)
            )
            # Not before both are here: the second would drive out the first.
            sides = (*a.values(), *b.values())
            trim(self.context, keep={path for path in sides if isinstance(path, Path)})
            inputs = question.inputs
            yield {
                "a": a,
                "b": b,
                "cache": self.context.cache.path,
                "prompts": None if inputs.prompts is None else inputs.prompts.absolute(),
                "tokens": inputs.tokens,
                "top": inputs.top,
                "device": inputs.device,
                **self._suite(question.suite, draft),
            }

    def _version(self, text: str) -> VersionDetail:
        return resolve(self.context, Ref.parse(text), bare="newest")

    def _side(self, version: VersionDetail, stack: ExitStack, *, is_base: bool) -> Fields:
        info = self.context.api.get(base_path(version.base.name), BaseInfo)
        base = stack.enter_context(fetch_base(self.context, info))
        delta = None
        if not is_base:
            delta = fetch(self.context, version, fetch_manifest(self.context, version)).path
        convention = str(version.config.get("convention", ""))
        return {"base": base.path, "delta": delta, "convention": convention}

    def _suite(self, suite: Suite | None, folder: Path) -> Fields:
        if suite is None:
            return {"suite": None, "probes": None}
        (folder / "suite.json").write_bytes(suite.document)
        probes = folder / "probes"
        probes.mkdir()
        for one in suite.sets.values():
            for name, digest in one.files.items():
                (probes / name).write_bytes(fetch_suite_file(self.context, digest))
        return {"suite": folder / "suite.json", "probes": probes}


def _key(
    versions: tuple[VersionDetail, VersionDetail],
    is_base: tuple[bool, bool],
    inputs: BehaviorOptions,
    suite: Suite | None,
) -> str:
    sides = [[one.base.root, "" if alone else one.digest] for one, alone in zip(versions, is_base, strict=True)]
    fields: Fields = {
        "form": _FORM,
        "sides": sides,
        "suite": None if suite is None else str(suite.digest),
        "prompts": None if inputs.prompts is None else _digest_of(inputs.prompts),
        "tokens": inputs.tokens,
        "top": inputs.top,
        "device": inputs.device,
        "software": [installed_version(name) for name in ("torch", "transformers", "deltareg")],
    }
    return sha256_of(canonical_json(fields)).hex


def _digest_of(path: Path) -> str:
    try:
        return f"{path.suffix} {sha256_of(path.read_bytes())}"
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", fix="name one with --prompts") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
