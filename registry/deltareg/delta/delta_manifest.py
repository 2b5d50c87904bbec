"""The manifest of a delta, built by the same code on client and server.

The client builds it to push; the server builds it again from the headers and documents that arrived
and refuses a push whose manifest differs. So nothing in a manifest is taken on trust.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from deltareg.delta.accounting import account, recognise
from deltareg.delta.kind import Account, BaseView, DeltaFiles, DeltaKind, Match, Tensors
from deltareg.delta.layouts.wrappers import wrapped_names
from deltareg.digest import Digest
from deltareg.errors import Problem, Refused
from deltareg.identity.manifest import Manifest, ManifestFile, ManifestTensor

_DOCUMENTS = frozenset({"adapter_config.json", "adapter_interface.json", "config.json", "head_config.json"})


def is_document(path: str) -> bool:
    """Whether a kind may have to read this file; every other file is carried unread."""
    return path in _DOCUMENTS or path.endswith(".safetensors.index.json")


@dataclass(frozen=True, slots=True)
class Assessment:
    """What kind of delta a folder holds, as far as its headers and documents show.

    Attributes:
        match: The evidence by which the kind was recognised.
        kind: The kind with its configuration; None when it could not be read.
        account: Effects, roles and problems.
    """

    match: Match
    kind: DeltaKind
    account: Account

    @property
    def errors(self) -> list[Problem]:
        """The problems because of which the delta is refused."""
        return [p for p in self.account.problems if p.severity == "error"]


def assess(files: DeltaFiles, tensors: Tensors, base: BaseView, *, kind: str = "auto") -> Assessment:
    """Recognise a delta and account for every tensor of it; no data is read.

    Args:
        files: Headers and documents.
        tensors: The tensors by name; they need not be readable.
        base: The base that it is for.
        kind: The name of the required kind, or `auto`.

    Raises:
        Refused: Names contain wrappers, no kind fits, the kind is not the requested one, or its
            config is refused.
    """
    wrapped = wrapped_names(files.names, base.tensors)
    if wrapped:
        raise Refused(wrapped)
    reader, match = recognise(files, base)
    if kind not in {"auto", match.kind}:
        message = f"the files are of kind {match.kind} ({match.evidence}), not {kind}"
        raise Refused([Problem("kind_mismatch", message, fix="leave --kind out")])
    parsed = reader.parse(files, base)
    return Assessment(match, parsed, account(parsed, files, tensors, base))


def build_delta_manifest(
    assessment: Assessment,
    *,
    delta: DeltaFiles,
    files: Iterable[ManifestFile],
    digests: Mapping[tuple[str, str], Digest],
    base: BaseView,
    parents: Sequence[Digest] = (),
) -> Manifest:
    """Build the manifest of a delta that has been accounted for.

    Args:
        assessment: From `assess`, without errors.
        delta: The files that `assess` was given.
        files: All carried files.
        digests: Tensor digest by (file, tensor name).
        base: The base.
        parents: Manifest digests of the versions it was made from.

    Raises:
        Refused: The assessment holds errors, or two files hold different tensors of one name.
    """
    if assessment.errors:
        raise Refused(assessment.account.problems)
    _check_copies(digests)
    kind, roles = assessment.kind, assessment.account.roles
    tensors = (
        ManifestTensor(path, name, *roles.get(name, ("", "")), info.dtype, info.shape, digests[path, name])
        for path, header in delta.headers.items()
        for name, info in header.tensors.items()
    )
    return Manifest(
        kind=kind.name,
        variant=kind.variant,
        foldable=kind.foldable,
        base=base.root,
        config=kind.config(),
        tensors=tuple(sorted(tensors, key=lambda t: (t.file, t.name))),
        files=tuple(sorted(files, key=lambda f: f.path)),
        parents=tuple(parents),
        source=kind.source,
    )


def _check_copies(digests: Mapping[tuple[str, str], Digest]) -> None:
    """Refuse two tensors of one name, unless one is a copy of the other."""
    first_seen: dict[str, tuple[str, Digest]] = {}
    for (path, name), digest in sorted(digests.items()):
        first, own = first_seen.setdefault(name, (path, digest))
        if own != digest:
            message = f"{first} and {path} hold it, and they differ"
            raise Refused([Problem("ambiguous", message, tensor=name, fix="keep one of them")])
