"""What the supervisor hands to a child: paths and limits, no credentials, no addresses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltareg_verify.messages.requests import ProcessRequest


@dataclass(frozen=True, slots=True)
class VersionOnBase:
    """A version and its base: what a base claims to be made of, or what a version is compared with.

    Attributes:
        delta: The version's files.
        manifest: A file with its manifest bytes.
        base: The folder of its base, its root checked.
        base_manifest: A file with that base's manifest bytes.
    """

    delta: Path
    manifest: Path
    base: Path
    base_manifest: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return self.delta, self.manifest, self.base, self.base_manifest


@dataclass(frozen=True, slots=True)
class MeasureFiles:
    """Files for a child: the probe set of a base, and the base's figures and outputs where they are known."""

    probes: Path | None = None
    figures: Path | None = None
    outputs: Path | None = None


@dataclass(frozen=True, slots=True)
class BaseAssignment(ProcessRequest):
    """A base that is to be measured on its own general probes, before any delta is looked at.

    Attributes:
        base: Its folder, its root already checked by the supervisor.
        base_manifest: A file with its manifest bytes.
        model_type: The base's, to be imported before the fork.
        suite: A file with the document of the suite that says what it runs in.
        probes: A file with its probe set.
        scratch: The one folder that the child may write.
        device: `cpu` or `cuda:N`.
        threads: Processor threads; 0 takes all.
        wall_s: Seconds after which the child is killed.
        memory_bytes: Private memory; 0 sets no limit.
        delivery: The folder for its outputs on the suite's probe; None asks for none.
        has_figures: Whether its figures are known, so that only its outputs are asked for.
    """

    base: Path
    base_manifest: Path
    model_type: str
    suite: Path
    probes: Path
    scratch: Path
    device: str
    threads: int
    wall_s: float
    memory_bytes: int
    delivery: Path | None = None
    has_figures: bool = False


@dataclass(frozen=True, slots=True)
class Assignment(ProcessRequest):
    """One run as the child sees it.

    Attributes:
        delta: The pulled folder.
        manifest: A file with the version's manifest bytes.
        base: The folder of the base, its root already checked by the supervisor.
        base_manifest: A file with the base's manifest bytes, so that nothing is hashed again.
        model_type: The base's, or its class in diffusers, to be imported before the fork.
        suite: A file with the suite's document.
        probes: A folder with the files of its probe sets, by the names that the suite gives.
        scratch: The one folder that the child may write.
        device: `cpu` or `cuda:N`.
        threads: Processor threads; 0 takes all.
        wall_s: Seconds after which the child is killed.
        memory_bytes: Private memory; 0 sets no limit.
        below: The version that the base is, where its values were computed.
        promoted: The version that the suite compares with, when it does and there is one.
        base_probes: A file with the general probe set of the base; None draws one.
        base_figures: A file with the base's own figures on it, from the same surroundings; None
            where there are none.
        base_outputs: A file with the base's own outputs on the suite's probe, likewise.
        waived: The waived checks: the others run although these fail.
        references: Other versions that the suite compares with, by the suite's name for them.
        names: What people call these and the promoted one; for a missing one the reason.
    """

    delta: Path
    manifest: Path
    base: Path
    base_manifest: Path
    model_type: str
    suite: Path
    probes: Path
    scratch: Path
    device: str
    threads: int
    wall_s: float
    memory_bytes: int
    below: VersionOnBase | None = None
    promoted: VersionOnBase | None = None
    base_probes: Path | None = None
    base_figures: Path | None = None
    base_outputs: Path | None = None
    waived: tuple[str, ...] = ()
    references: Mapping[str, VersionOnBase] = field(default_factory=dict[str, VersionOnBase])
    names: Mapping[str, str] = field(default_factory=dict[str, str])
