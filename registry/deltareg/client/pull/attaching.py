"""Attaches a pulled version to a live model; the part that needs torch is loaded by name.

The client is installed without torch and must not import the worker's package. A program that
attaches has it: the engine is loaded when it is first needed, and has to meet the protocols here.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Protocol, Self, cast

from deltareg.client.asking.resolving import base_path
from deltareg.client.bases.unpacked import unpack
from deltareg.client.context import Context
from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.pull.base_fetching import bring_base, view_of
from deltareg.client.results.pull_report import Attachment
from deltareg.delta.quantised.scheme import scheme_named
from deltareg.errors import BaseMismatch, Misconfigured
from deltareg.wire import BaseInfo, VersionDetail

_ENGINE = "deltareg_verify.engine.torch_engine.attach"


class _Host(Protocol):
    def prepare(self, deltas: Sequence[object], *, include: Sequence[str] = ()) -> object: ...

    def attach(self, ready: object) -> Attachment: ...


class _Engine(Protocol):
    """The module `deltareg_verify.engine.torch_engine.attach`, as far as it is used."""

    def Host(self, model: object, base: BaseFolder) -> _Host: ...  # noqa: N802  # its class there

    def open_delta(self, path: Path, base: BaseFolder, *, convention: str = "") -> object: ...


class AttachedVersion:
    """A version on a live model, with the base that it was opened against."""

    def __init__(self, attached: Attachment, opened: ExitStack) -> None:
        """Take what is on the model, and what to close after detaching it."""
        self._attached = attached
        self._opened = opened

    def __enter__(self) -> Self:
        """Enter a `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Detach at the end of the block."""
        self.detach()

    @property
    def hits(self) -> Mapping[str, int]:
        """How often each part that acts on activations has acted, by target or module."""
        return self._attached.hits

    def silent(self, inputs: Mapping[str, object]) -> Sequence[str]:
        """Run one forward pass and return the parts that took no part in it."""
        return self._attached.silent(inputs)

    def detach(self) -> None:
        """Take the version off the model; may be called twice."""
        self._attached.detach()
        self._opened.close()


def attach(
    context: Context, version: VersionDetail, path: Path, model: object, include: Sequence[str]
) -> AttachedVersion:
    """Open a version's folder against its base and attach it to a model.

    The model may hold the weights of the variant that the version was trained on, unpacked.

    Raises:
        Misconfigured: The part with torch is not installed.
        BaseMismatch: The model is not the base.
    """
    engine = _load_engine()
    info = context.api.get(base_path(version.base.name), BaseInfo)
    try:
        return _attach(engine, bring_base(context, info), version, path, model, include)
    except BaseMismatch as mismatch:
        if not version.trained_on:
            raise
        base = _unpack_variant(context, version.trained_on, info)
        try:
            return _attach(engine, base, version, path, model, include)
        except BaseMismatch:
            raise mismatch from None


def _unpack_variant(context: Context, name: str, root: BaseInfo) -> BaseFolder:
    variant = context.api.get(base_path(name), BaseInfo)
    with bring_base(context, variant) as variant_folder:
        scheme = scheme_named(variant.quantised)
        return unpack(context.cache, variant_folder, scheme, view_of(context, root))


def _attach(
    engine: _Engine, opened: BaseFolder, version: VersionDetail, path: Path, model: object, include: Sequence[str]
) -> AttachedVersion:
    convention = str(version.config.get("convention", ""))
    with ExitStack() as stack:
        base = stack.enter_context(opened)
        host = engine.Host(model, base)
        delta = engine.open_delta(path, base, convention=convention)
        attached = host.attach(host.prepare([delta], include=include))
        return AttachedVersion(attached, stack.pop_all())


def _load_engine() -> _Engine:
    try:
        return cast("_Engine", import_module(_ENGINE))
    except ImportError as error:
        raise Misconfigured(
            f"attaching needs the part with torch, and {error.name or error} is not installed",
            fix="pip install 'deltareg[verify]'",
        ) from error
