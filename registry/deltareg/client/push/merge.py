"""Merge: several versions of one base become one, which is pushed with its parents and recipe."""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from deltareg.client.asking.resolving import base_path, fetch_manifest, resolve_live
from deltareg.client.context import Context
from deltareg.client.folders.base_folder import BaseFolder
from deltareg.client.folders.merged_files import write_lora, write_weights
from deltareg.client.pull.base_fetching import fetch_base
from deltareg.client.pull.fetching import fetch, trim
from deltareg.client.pull.pulled_version import OpenVersion, open_version
from deltareg.client.push.push import PushOptions, push
from deltareg.client.results.reports import MergePlan, MergeReport
from deltareg.delta.merge.conflicts import conflicts
from deltareg.delta.merge.factors import FactorMerging, MergedModule, error_of
from deltareg.delta.merge.method import FactorMethod, MergeMethod, MergeSettings
from deltareg.delta.merge.methods import method_named
from deltareg.delta.merge.recipe import RECIPE_FILE, MergeRecipe, RecipeParent, parameters_of
from deltareg.delta.merge.sides import Parent
from deltareg.delta.merge.weights import ValueMerging
from deltareg.errors import BaseMismatch, Blocked, DeltaregError, InvalidInput
from deltareg.refs import LineRef, Ref
from deltareg.wire import BaseInfo, VersionDetail

Weighted = Sequence[tuple[str, float]]
_DTYPES = {"keep": "", "bf16": "BF16", "f16": "F16", "f32": "F32"}
_ASKED = ("density", "seed", "scale", "normalize", "rank", "gamma", "epsilon")


@dataclass(frozen=True, slots=True)
class MergeOptions:
    """How versions are merged, and what is said about the result.

    Attributes:
        method: A merge method's name.
        density: The share of elements that is kept; None for the method's default, as below.
        seed: Where random choices start from.
        scale: A factor on the merged change.
        normalize: Whether weights are made to sum up to one.
        rank: Of the factors of an `svd` merge, which must name it.
        gamma: The share of the largest elements that breadcrumbs drops.
        epsilon: How far the chance to be kept moves with an element's size in della.
        dtype: `keep`, or what the result is written as: f32, bf16, f16.
        message: For people; the recipe in words by default.
        semver: A label such as `1.4.0`.
        labels: More labels.
    """

    method: str = "linear"
    density: float | None = None
    seed: int | None = None
    scale: float | None = None
    normalize: bool | None = None
    rank: int | None = None
    gamma: float | None = None
    epsilon: float | None = None
    dtype: str = "keep"
    message: str = ""
    semver: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def settings(self, method: MergeMethod) -> MergeSettings:
        """Give the parameters that the method is run with.

        Raises:
            InvalidInput: One is given that the method does not heed, or has no sense.
        """
        given = {n: v for n in _ASKED if (v := getattr(self, n)) is not None}
        odd = sorted(given.keys() - method.takes)
        if odd:
            raise InvalidInput(f"{method.name} takes no {odd[0]}", fix=f"leave --{odd[0]} out")
        if "rank" in method.takes and not self.rank:
            raise InvalidInput(f"{method.name} needs the rank of the result", fix="say --rank R")
        if self.dtype not in _DTYPES:
            raise InvalidInput(f"no dtype {self.dtype!r}", fix=f"use {', '.join(_DTYPES)}")
        settings = MergeSettings(**given)
        settings.check()
        if "epsilon" in method.takes:
            settings.check_chances()
        return settings


@dataclass(frozen=True, slots=True)
class _Merge:
    """A merge under way: its parents are open."""

    context: Context
    method: MergeMethod
    settings: MergeSettings
    dtype: str
    base: BaseFolder
    parents: Sequence[OpenVersion]
    weights: Sequence[float]

    @property
    def sources(self) -> list[Parent]:
        """The parents as the engine sees them."""
        return [
            Parent(parent.version.ref, parent.version.digest, weight, parent.effects)
            for parent, weight in zip(self.parents, self.weights, strict=True)
        ]

    def engine(self) -> ValueMerging | FactorMerging:
        """Hold the parents against the method; no weight is read.

        Raises:
            InvalidInput: It cannot merge them.
        """
        base, settings = self.base.tensors, self.settings
        if isinstance(self.method, FactorMethod):
            return FactorMerging(self.sources, base, self.base.view, method=self.method, settings=settings)
        dtype = _DTYPES[self.dtype]
        return ValueMerging(self.sources, base, method=self.method, settings=settings, dtype=dtype)

    def write(self, folder: Path) -> list[MergedModule]:
        """Write the result's files; gives the modules of a LoRA."""
        folders = [parent.folder for parent in self.parents]
        engine, progress = self.engine(), self.context.progress
        if isinstance(engine, FactorMerging):
            return write_lora(engine, folder, folders, _DTYPES[self.dtype] or "F32", progress)
        write_weights(engine, folder, self.base.view, folders, progress, base=self.base.folder)
        return []


def merge(context: Context, parents: Weighted, line: LineRef, *, options: MergeOptions) -> MergeReport:
    """Merge versions and push the result; the same merge again gives the same version.

    Raises:
        BaseMismatch: The versions are not all for one base.
        InvalidInput: One cannot be folded, or the method cannot merge them.
    """
    started = time.monotonic()
    method = method_named(options.method)
    settings = options.settings(method)
    versions = _resolve(context, parents)
    _check(versions, line)
    weights = [weight for _, weight in parents]
    with (
        context.cache.draft() as draft,
        _open_merge(context, versions, method, settings, options.dtype, weights) as job,
    ):
        draft.mkdir()
        modules = job.write(draft)
        recipe = _recipe(job, modules)
        (draft / RECIPE_FILE).write_bytes(recipe.encode())
        base = versions[0].base.name
        pushed = push(context, draft, line, base=base, options=_push_options(recipe, options, base=base))
    trim(context)
    return MergeReport(pushed, recipe, time.monotonic() - started)


def plan(context: Context, parents: Weighted, *, options: MergeOptions) -> MergePlan:
    """Forecast a merge: what stands in its way, and where the changes conflict."""
    method = method_named(options.method)
    settings = options.settings(method)
    versions = _resolve(context, parents)
    weights = [weight for _, weight in parents]
    try:
        _check(versions, None)
    except DeltaregError as error:
        return MergePlan(method.name, versions, weights, error, [])
    with _open_merge(context, versions, method, settings, options.dtype, weights) as job:
        hindrance: DeltaregError | None = None
        try:
            job.engine()
        except InvalidInput as error:
            hindrance = error
        found = list(conflicts(job.sources, job.base.tensors))
    trim(context)
    return MergePlan(method.name, versions, weights, hindrance, found)


def _resolve(context: Context, parents: Weighted) -> list[VersionDetail]:
    if not parents:
        raise InvalidInput("nothing to merge", fix="name versions with weights: ns/a=0.7 ns/b=0.3")
    for ref, weight in parents:
        if not isfinite(weight):
            raise InvalidInput(f"the weight of {ref} is not a number: {weight}")
    return [resolve_live(context, Ref.parse(ref), bare="newest") for ref, _ in parents]


def _check(versions: Sequence[VersionDetail], line: LineRef | None) -> None:
    first = versions[0]
    for version in versions:
        if (version.base.root, version.base.identity) != (first.base.root, first.base.identity):
            is_alike = version.base.root == first.base.root
            digests = "the same tensors, and other bases" if is_alike else f"{first.base.root}"
            raise BaseMismatch(
                f"{first.ref} is for {first.base.name} ({digests}) and {version.ref} for"
                f" {version.base.name} ({version.base.root})",
                fix="merge versions of one base",
            )
        if version.is_revoked:
            raise Blocked(
                f"{version.ref} is revoked, and nothing is merged from it", fix="merge versions that were not revoked"
            )
        if not version.foldable:
            raise InvalidInput(
                f"{version.ref} ({version.kind}) acts on activations and changes no weights that could be added up",
                fix="serve it beside the others: attach-only deltas are composed, not merged",
            )
        if line is not None and version.namespace != line.namespace:
            raise InvalidInput(
                f"{version.ref} is not of the namespace {line.namespace}, and parents must be",
                fix=f"push it to {line.namespace} too, or merge into {version.namespace}",
            )


@contextmanager
def _open_merge(
    context: Context,
    versions: Sequence[VersionDetail],
    method: MergeMethod,
    settings: MergeSettings,
    dtype: str,
    weights: Sequence[float],
) -> Generator[_Merge, None, None]:
    with ExitStack() as stack:
        info = context.api.get(base_path(versions[0].base.name), BaseInfo)
        base = stack.enter_context(fetch_base(context, info))
        pulled = [fetch(context, v, fetch_manifest(context, v)) for v in versions]
        opened = [stack.enter_context(open_version(found, base.view)) for found in pulled]
        yield _Merge(context, method, settings, dtype, base, opened, weights)


def _recipe(job: _Merge, modules: Sequence[MergedModule]) -> MergeRecipe:
    parents = [
        RecipeParent(parent.version.ref, parent.version.digest, weight)
        for parent, weight in zip(job.parents, job.weights, strict=True)
    ]
    errors: dict[str, float] = {}
    if "rank" in job.method.takes:
        errors = {merged.target: merged.relative_error for merged in modules}
        errors[""] = error_of(modules)
    return MergeRecipe(
        job.method.name,
        str(job.base.identity.root),
        parents,
        parameters_of(job.method, job.settings),
        job.dtype,
        errors,
    )


def _push_options(recipe: MergeRecipe, options: MergeOptions, *, base: str) -> PushOptions:
    told = ", ".join(f"{parent.ref}={parent.weight:g}" for parent in recipe.parents)
    return PushOptions(
        parents=list(dict.fromkeys(parent.ref for parent in recipe.parents)),
        message=options.message or f"{recipe.method} of {told}"[:200],
        semver=options.semver,
        labels=options.labels,
        trained_on=base,  # as every parent is recorded
    )
