"""Prepares what a child needs: the version's files, its base, and both manifests."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deltareg.client import WorkerClient
from deltareg.client.bases.bases import identity_of, remember_base
from deltareg.client.bases.unpacked import unpack
from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import BaseFolder, as_recorded, open_base
from deltareg.delta.base_manifest import CONFIG_FILE
from deltareg.delta.quantised.scheme import scheme_named
from deltareg.digest import Digest
from deltareg.errors import Conflict, DeltaregError, Inconclusive, IntegrityFailure, InvalidInput, NotFound
from deltareg.identity.manifest import Manifest
from deltareg.identity.whole_base import part_differences, tell_differences
from deltareg.suites.suite import Suite, built_in, built_in_names
from deltareg.wire import BaseInfo, LeaseGrant, ReencodeReport
from deltareg_verify.child.sides import SideFiles, SideMaterials
from deltareg_verify.messages.assignment import VersionOnBase
from deltareg_verify.supervisor.base_cache import BaseCache
from deltareg_verify.supervisor.knowledge import read_known_suite

Evidence = Literal["exact", "shapes"]
_COPIES = {"base_copy", "new_rows"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Materials:
    """Files on this machine, checked against the digests that the run names.

    Attributes:
        delta: The version's files.
        manifest: Its manifest, in a file.
        base: The base's folder.
        base_manifest: The base's manifest as fingerprinted here, in a file.
        model_type: The base's; for one of diffusers its class.
        base_config: Digest of the base's configuration, for the verdict.
        base_identity: The identity of the base at hand, for the verdict.
        evidence: What ties the delta to this base: `exact` when it carries tensors of the base,
            `shapes` when no more can be said than that it fits.
        below: The version that the base is, where its values were computed: the registry proves all
            other values by their digests.
        promoted: The version that the suite compares with, when it does and there is one.
        references: Other versions that it compares with, by the suite's name for them.
        names: What people call these; for a missing one the reason.
    """

    delta: Path
    manifest: Path
    base: Path
    base_manifest: Path
    model_type: str
    base_config: str
    base_identity: str
    evidence: Evidence
    suite: Suite
    suite_file: Path
    probes: Path
    below: VersionOnBase | None = None
    promoted: VersionOnBase | None = None
    references: Mapping[str, VersionOnBase] = field(default_factory=dict[str, VersionOnBase])
    names: Mapping[str, str] = field(default_factory=dict[str, str])


class MaterialSource:
    """The source of materials: the registry, and folders of this machine."""

    def __init__(self, client: WorkerClient, *, base_dirs: Sequence[Path], base_cache: BaseCache | None = None) -> None:
        """Use a client's settings and cache; look for bases in `base_dirs` first.

        Opened bases are held in `base_cache`, so that no other worker evicts them.
        """
        self._client = client
        self._base_dirs = base_dirs
        self._base_cache = base_cache

    def gather(self, grant: LeaseGrant, into: Path) -> Materials:
        """Bring a run's materials into a folder of its own.

        Raises:
            Inconclusive: The base is not available, or the registry sent something else.
            DeltaregError: The registry cannot be reached or refuses.
        """
        with ExitStack() as opened:
            base_folder = opened.enter_context(self.open_base(grant.base))
            base = self._unpack_variant(grant.base, base_folder, opened)
            own = self._bring(grant.ref, grant.digest, base, into)
            manifest = Manifest.decode(own.manifest.read_bytes())
            suite = self._suite(grant)
            (into / "suite.json").write_bytes(suite.document)
            return Materials(
                delta=own.delta,
                manifest=own.manifest,
                base=own.base,
                base_manifest=own.base_manifest,
                model_type=grant.base.model_type or _class_of_diffusers(base),
                base_config=str(base_folder.identity.config),
                base_identity=str(base_folder.identity.whole.identity),
                evidence=evidence_of(manifest, base.manifest),
                suite=suite,
                suite_file=into / "suite.json",
                probes=self._gather_probes(suite, into / "probes"),
                below=self._gather_below(grant.base, into) if grant.base.recipe else None,
                promoted=self._gather_promoted(grant, into) if grant.promoted else None,
                references=self._gather_references(grant, into),
                names=_names(grant),
            )

    def gather_sides(self, grant: LeaseGrant, into: Path) -> SideMaterials:
        """Bring the versions of a run, and their base where it is available.

        Raises:
            Inconclusive: The registry sent something else.
            DeltaregError: The registry cannot be reached or refuses.
        """
        requested = {name: (one.ref, one.digest) for name, one in grant.references.items()}
        own = next(name for name in ("a", "b") if name not in requested)
        requested[own] = grant.ref, grant.digest
        with ExitStack() as opened:
            try:
                base = opened.enter_context(self.open_base(grant.base))
            except Inconclusive as error:  # plain products are compared without it
                log.info("no base=%s: %s", grant.base.name, error.message)
                base = None
            versions = {name: self._bring_side(ref, digest, into / name) for name, (ref, digest) in requested.items()}
            record = self._client.bases.manifest(grant.base) if base is None else base.manifest
            (into / "base.json").write_bytes(record.encode())
            return SideMaterials(
                versions,
                None if base is None else base.path.absolute(),
                into / "base.json",
                grant.base.model_type or ("" if base is None else _class_of_diffusers(base)),
            )

    def _bring_side(self, ref: str, digest: str, into: Path) -> SideFiles:
        into.mkdir()
        return SideFiles(into / "delta", self._pull(ref, digest, into))

    def reencode(self, grant: LeaseGrant, into: Path) -> ReencodeReport:
        """Create and send the new form of a version; the report ends its run.

        Raises:
            Inconclusive: The base is not available.
            DeltaregError: The registry cannot be reached or refuses, or a byte is wrong.
        """
        with self.open_base(grant.base) as base:
            return self._client.reencode(grant, base, into)

    def open_reference(self, grant: LeaseGrant) -> BaseFolder:
        """Open the base that a proof's bytes are encoded against.

        Raises:
            Inconclusive: It is not available.
        """
        if grant.ref:
            return self.open_base(grant.base)
        if grant.base.bottom is None:
            raise Inconclusive(f"{grant.base.name} stands on no base, and its bytes need one")
        return self.open_base(self._client.bases.show(grant.base.bottom.name))

    def _unpack_variant(self, info: BaseInfo, base: BaseFolder, opened: ExitStack) -> BaseFolder:
        """Return the folder that a network is built from: for a variant, with its weights unpacked.

        Raises:
            Inconclusive: They are packed in an unknown form.
        """
        if info.variant_of is None:
            return base
        root = self._client.bases.view(info.variant_of.name)
        try:
            unpacked = unpack(self._client.cache, base, scheme_named(info.quantised), root)
        except InvalidInput as error:
            raise Inconclusive(
                f"the weights of {info.name} cannot be unpacked: {error.message}", fix=error.fix
            ) from error
        if self._base_cache is not None:
            own = info.model_copy(update={"identity": str(unpacked.identity.whole.identity)})
            self._base_cache.hold(own)
        return opened.enter_context(unpacked)

    def _gather_below(self, info: BaseInfo, into: Path) -> VersionOnBase:
        """Bring the version that a base is, and that version's base."""
        return self._gather_other(info.version or "", into / "below")

    def _gather_promoted(self, grant: LeaseGrant, into: Path) -> VersionOnBase:
        """Bring the version that this one is compared with."""
        return self._gather_other(grant.promoted, into / "promoted", digest=grant.promoted_digest)

    def _gather_references(self, grant: LeaseGrant, into: Path) -> dict[str, VersionOnBase]:
        """Bring the other versions that this one is compared with, each once."""
        references: dict[str, VersionOnBase] = {}
        by_ref: dict[str, VersionOnBase] = {}
        for number, (key, one) in enumerate(grant.references.items()):
            if one.ref and one.ref not in by_ref:
                place = into / f"reference-{number}"
                by_ref[one.ref] = self._gather_other(one.ref, place, digest=one.digest)
            if one.ref:
                references[key] = by_ref[one.ref]
        return references

    def _gather_other(self, ref: str, into: Path, *, digest: str = "") -> VersionOnBase:
        """Bring a version and its base into a folder of their own."""
        into.mkdir()
        version = self._client.show(ref)
        with self.open_base(self._client.bases.show(version.base.name)) as base:
            return self._bring(version.ref, digest or version.digest, base, into)

    def _bring(self, ref: str, digest: str, base: BaseFolder, into: Path) -> VersionOnBase:
        """Pull a version beside the manifests that a child needs.

        Raises:
            Inconclusive: It is not what was expected.
        """
        manifest = self._pull(ref, digest, into)
        (into / "base.json").write_bytes(base.manifest.encode())
        return VersionOnBase(into / "delta", manifest, base.path, into / "base.json")

    def _pull(self, ref: str, digest: str, into: Path) -> Path:
        """Pull a version, and write its manifest beside it; returns the manifest's file."""
        pulled = self._client.pull(ref, into / "delta", is_temporary=True)
        manifest = self._client.cache.manifest(Digest.parse(digest))
        if pulled.digest != digest or manifest is None:
            raise Inconclusive(
                f"{ref} is {pulled.digest} now, the run is about {digest}", fix="verify it again: deltareg verify REF"
            )
        (into / "manifest.json").write_bytes(manifest)
        return into / "manifest.json"

    def _suite(self, grant: LeaseGrant) -> Suite:
        """Return the suite of the run, as it was when the run was queued."""
        name, digest = grant.suite, grant.suite_digest
        if name in built_in_names() and str(built_in(name).digest) == digest:
            return built_in(name)
        suite = read_known_suite(self._client.suites.show(name, digest=digest).document.encode())
        if str(suite.digest) != digest:
            raise IntegrityFailure(f"suite {name} came as {suite.digest}, not {digest}")
        return suite

    def _gather_probes(self, suite: Suite, into: Path) -> Path:
        """Bring the files of a suite's probe sets."""
        into.mkdir()
        for one in suite.sets.values():
            for name, digest in one.files.items():
                (into / name).write_bytes(self._client.suites.fetch_file(digest))
        return into

    def open_base(self, info: BaseInfo) -> BaseFolder:
        """Find a base by its identity: in the given folders, where clients left it, or fetch it.

        Raises:
            Inconclusive: It is nowhere; the message says what would help.
        """
        root, cache = Digest.parse(info.root), self._client.cache
        try:
            record = self._client.bases.manifest(info)
        except NotFound as error:
            raise _nowhere(info, error) from error
        identity = identity_of(record)
        if self._base_cache is not None:
            self._base_cache.hold(info.model_copy(update={"identity": str(identity)}))
        for folder in _folders(self._base_dirs):
            opened = _try_open_base(folder, cache)
            if opened is not None and opened.identity.root == root:
                remember_base(cache, root, folder)
                if opened.identity.whole.identity == identity:
                    return as_recorded(opened, record)
                differs = part_differences(record, opened.manifest, same_tensors=True)
                differences = tell_differences(differs)
                log.info("not the base folder=%s base=%s: %s", folder, info.name, differences)
            if opened is not None:
                opened.folder.close()
        try:
            return self._client.bases.fetch(info)
        except (NotFound, Conflict) as error:
            raise _nowhere(info, error) from error


def _names(grant: LeaseGrant) -> dict[str, str]:
    """Return the names of the versions that a suite compares with, or why there are none."""
    names = {key: one.ref or one.why for key, one in grant.references.items()}
    return ({"promoted": grant.promoted} if grant.promoted else {}) | names


def _class_of_diffusers(base: BaseFolder) -> str:
    """Return the class of a base without a model type; empty when it names none."""
    name = base.view.config.get("_class_name", "")
    return name if isinstance(name, str) else ""


def _nowhere(info: BaseInfo, error: DeltaregError) -> Inconclusive:
    if info.version is not None:  # it is stored, but what it stands on is not, or it was deleted
        return Inconclusive(f"the base {info.name} cannot be put together: {error.message}", fix=error.fix)
    return Inconclusive(
        f"the base {info.name} is not stored, and no folder here has its root {info.root} and the"
        " same config, tokenizer and templates",
        fix=f"start workers with --base-dir FOLDER, or deltareg base push PATH {info.name}",
    )


def evidence_of(delta: Manifest, base: Manifest) -> Evidence:
    """Return what ties a delta to its base, beyond the declaration that it was made for it.

    The accounting check compares copies of base weights with the base, and a full fine-tune usually
    has tensors that training did not change. Nothing in plain LoRA factors reveals the base.
    """
    own = {tensor.digest for tensor in base.tensors}
    if any(t.role in _COPIES or t.digest in own for t in delta.tensors):
        return "exact"
    return "shapes"


def _folders(roots: Sequence[Path]) -> Iterator[Path]:
    """Yield each folder and the folders in it, as far as they look like bases."""
    for root in roots:
        inside = sorted(root.iterdir()) if root.is_dir() else []
        for folder in (root, *inside):
            if (folder / CONFIG_FILE).is_file():
                yield folder


def _try_open_base(folder: Path, cache: Cache) -> BaseFolder | None:
    try:
        return open_base(folder, cache)
    except DeltaregError as error:
        log.info("not a base folder=%s error=%s", folder, error.message)
        return None
