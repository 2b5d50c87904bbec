"""What a folder declares: access, suites, and policies by their owner. No server is asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.client.applying.access_files import AccessFiles, read_access_files
from deltareg.client.resources.suites import read_suite_file
from deltareg.documents.json_values import is_list, is_object
from deltareg.documents.yaml_document import read_yaml
from deltareg.errors import InvalidInput, NotFound
from deltareg.gate.policy_file import read_floor_file, read_policy_file
from deltareg.refs import LineRef, parse_channel, parse_name
from deltareg.suites.suite import Suite, built_in_names

_ENDINGS = (".yaml", ".yml")
_LAYOUT = (
    "access.yaml, namespaces/NS.yaml, policies/server.yaml, policies/NS/namespace.yaml,"
    " policies/NS/NAME/CHANNEL.yaml, suites/*.yaml"
)


@dataclass(frozen=True, slots=True, order=True)
class PolicyOwner:
    """The owner of a policy: the server, a namespace (`line` is empty) or a channel."""

    namespace: str = ""
    line: str = ""
    channel: str = ""

    @property
    def is_floor(self) -> bool:
        """Whether it is a floor: a policy that counts beside those of channels."""
        return not self.channel

    def __str__(self) -> str:
        """Format it as people write it."""
        if self.channel:
            return f"{self.line}@{self.channel}"
        return f"namespace {self.namespace}" if self.namespace else "the server"


@dataclass(frozen=True, slots=True)
class DeclaredSuite:
    """A suite, with the digests of its files filled in."""

    path: Path
    suite: Suite


@dataclass(frozen=True, slots=True)
class DeclaredPolicy:
    """A policy in its canonical form."""

    path: Path
    of: PolicyOwner
    fields: Mapping[str, object]

    @property
    def suites(self) -> frozenset[str]:
        """The names of the suites that it asks for."""
        return frozenset(map(suite_of, listed_suites(self.fields)))


def listed_suites(fields: Mapping[str, object]) -> list[object]:
    """Return the list of suites in a policy's fields."""
    suites = fields.get("suites")
    return suites if is_list(suites) else []


def suite_of(item: object) -> str:
    """Return the name of the suite in an entry of that list."""
    return str(item["suite"] if is_object(item) else item)


@dataclass(frozen=True, slots=True)
class Declarations:
    """Everything that a folder declares.

    A folder speaks for the namespaces that it has folders of; one with a policy of the server
    speaks for all namespaces. Access files speak for what they name.
    """

    root: Path
    suites: Sequence[DeclaredSuite]
    policies: Sequence[DeclaredPolicy]
    namespaces: frozenset[str]
    access: AccessFiles = field(default_factory=AccessFiles)

    @property
    def is_whole(self) -> bool:
        """Whether it speaks for the whole server."""
        return any(policy.of == PolicyOwner() for policy in self.policies)


def read_folder(root: Path) -> Declarations:
    """Read a folder of access files, suites and policies.

    Raises:
        NotFound: The folder, or a file that a suite names, does not exist.
        InvalidInput: A file is in the wrong place or malformed; the message names it, and the line
            where possible.
    """
    if not root.is_dir():
        raise NotFound(f"there is no folder {root}", fix=f"make it: {_LAYOUT}")
    policies, namespaces = _policies(root / "policies")
    access = read_access_files(root)
    declared = Declarations(root, _suites(root / "suites"), policies, namespaces, access)
    if not (declared.suites or policies or namespaces or access.document):
        raise InvalidInput(f"{root} declares nothing", fix=f"it holds {_LAYOUT}")
    return declared


def _policies(folder: Path) -> tuple[list[DeclaredPolicy], frozenset[str]]:
    policies = [_policy(path, folder) for path in _yaml_files(folder)]
    _once([(str(one.of), one.path) for one in policies])
    below = folder.iterdir() if folder.is_dir() else ()
    names = frozenset(parse_name(path.name, "namespace") for path in below if path.is_dir())
    return sorted(policies, key=lambda one: one.of), names


def _policy(path: Path, folder: Path) -> DeclaredPolicy:
    try:
        of = _of(path.relative_to(folder).with_suffix("").parts)
        raw = path.read_bytes()
        policy = read_floor_file(raw, of=str(of)) if of.is_floor else read_policy_file(raw)
    except InvalidInput as error:
        raise _prefix_path(error, path) from error
    return DeclaredPolicy(path, of, policy)


def _of(parts: tuple[str, ...]) -> PolicyOwner:
    match parts:
        case ("server",):
            return PolicyOwner()
        case (namespace, "namespace"):
            return PolicyOwner(parse_name(namespace, "namespace"))
        case (namespace, name, channel):
            line = LineRef.parse(f"{namespace}/{name}")
            return PolicyOwner(line.namespace, str(line), parse_channel(channel))
        case _:
            raise InvalidInput("no policy is read from this place", fix=f"move it: {_LAYOUT}")


def _suites(folder: Path) -> list[DeclaredSuite]:
    """Read every suite; other YAML files must be named by one, such as a task of lm-eval."""
    suites, others, file_paths = list[DeclaredSuite](), list[Path](), set[Path]()
    for path in _yaml_files(folder):
        try:
            if "checks" not in read_yaml(path.read_bytes(), what="suite"):
                others.append(path)
                continue
            suite, files = read_suite_file(path)
        except InvalidInput as error:
            raise _prefix_path(error, path) from error
        if suite.name in built_in_names():
            raise InvalidInput(f"{path}: {suite.name} is built in", fix="give the suite a name of its own")
        suites.append(DeclaredSuite(path, suite))
        file_paths |= {path.parent / name for name in files}
    for path in others:
        if path not in file_paths:
            raise InvalidInput(f"{path} has no `checks`, and no suite names it", fix="take it out of suites/")
    _once([(f"suite {one.suite.name}", one.path) for one in suites])
    return sorted(suites, key=lambda one: one.suite.name)


def _yaml_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in _ENDINGS and path.is_file():
            yield path


def _once(found: Sequence[tuple[str, Path]]) -> None:
    """Refuse two files that declare the same thing."""
    paths: dict[str, Path] = {}
    for name, path in found:
        if name in paths:
            raise InvalidInput(f"{path} and {paths[name]} are both of {name}", fix="keep one")
        paths[name] = path


def _prefix_path(error: InvalidInput, path: Path) -> InvalidInput:
    """Return the error with the file's path in front of its message."""
    return InvalidInput(f"{path}: {error.message}", fix=error.fix)
