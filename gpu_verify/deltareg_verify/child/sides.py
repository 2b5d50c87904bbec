"""Versions of one base side by side, as a child gets them, to compare or to ask."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.folder import open_folder
from deltareg.delta.base_manifest import base_identity, base_view
from deltareg.identity.manifest import Manifest
from deltareg_verify.messages.requests import ProcessRequest
from deltareg_verify.sandbox import layers

_SPARE_CPU_S = 60


@dataclass(frozen=True, slots=True)
class SideFiles:
    """A version's files, and a file with its manifest bytes."""

    delta: Path
    manifest: Path


@dataclass(frozen=True, slots=True)
class SideMaterials:
    """Files on this machine, checked against the digests that a run names.

    Attributes:
        versions: By side, `a` and `b`.
        base: The base's folder; None where it is not available.
        base_manifest: The base's manifest, in a file.
        model_type: The base's; for one of diffusers its class.
    """

    versions: Mapping[str, SideFiles]
    base: Path | None
    base_manifest: Path
    model_type: str


@dataclass(frozen=True, slots=True)
class SidesAssignment(ProcessRequest):
    """One run as the child sees it: paths and limits, no credentials, no addresses.

    Attributes:
        versions: By side.
        base: The folder of their base, its root checked; None where it is not at hand.
        base_manifest: A file with the base's manifest bytes.
        model_type: The base's, to be imported before the fork; empty where no network runs.
        scratch: The one folder that the child may write.
        device: `cpu` or `cuda:N`.
        threads: Processor threads; 0 takes all.
        wall_s: Seconds after which the child is killed.
        memory_bytes: Private memory; 0 sets no limit.
        question: The question, as the wire has it; empty for a comparison.
        base_probes: A file with the general probe set of the base; None draws one.
    """

    versions: Mapping[str, SideFiles]
    base: Path | None
    base_manifest: Path
    model_type: str
    scratch: Path
    device: str
    threads: int
    wall_s: float
    memory_bytes: int
    question: Mapping[str, object] = field(default_factory=dict[str, object])
    base_probes: Path | None = None

    def bounds(self) -> layers.SandboxLimits:
        """Return what the child may read, write and take."""
        threads = self.threads or len(os.sched_getaffinity(0))
        own = [path for one in self.versions.values() for path in (one.delta, one.manifest)]
        own += [self.base_manifest, *filter(None, (self.base, self.base_probes))]
        return layers.SandboxLimits(
            readable=(*own, *layers.linked_from(filter(None, [self.base]))),
            writable=self.scratch,
            cpu_s=int(self.wall_s) * threads + _SPARE_CPU_S,
            memory_bytes=layers.memory_bound(self.device, self.memory_bytes),
            used_bytes=self.memory_bytes or None,
        )

    def open_base(self) -> BaseFolder | None:
        """Open the base; None where it is not at hand."""
        if self.base is None:
            return None
        manifest = Manifest.decode(self.base_manifest.read_bytes())
        folder = open_folder(self.base, purpose="base")
        return BaseFolder(self.base, folder, manifest, base_view(manifest), base_identity(manifest))
