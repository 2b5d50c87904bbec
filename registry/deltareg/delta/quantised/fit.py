"""Whether a base with packed weights is a packed form of another: same modules and shapes.

Values are not compared, since packing changes them. So a variant is what its owner declares, within
what the headers allow.
"""

from collections.abc import Iterator
from itertools import islice
from math import prod

from deltareg.delta.kind import BaseView
from deltareg.delta.quantised.packed import PackedContents, contents
from deltareg.delta.quantised.scheme import read_quantisation
from deltareg.errors import Problem
from deltareg.words import SCHEMES, Scheme

CODE = "not_a_variant"
_MOST = 20
_Shapes = dict[str, tuple[tuple[int, ...] | None, int]]


def variant_problems(variant: BaseView, scheme: Scheme, root: BaseView) -> list[Problem]:
    """Return the problems of taking a base for `root` packed by a scheme; empty if it may be.

    Args:
        variant: The base with packed weights.
        scheme: The declared scheme.
        root: The declared base in full precision.
    """
    problems = [*_by_config(variant, scheme), *_by_root(variant, root)]
    if problems:
        return problems
    packed = _contents(variant, scheme)
    if not packed.packed:
        fix = f"register it without --variant-of, or name its scheme: {', '.join(SCHEMES)}"
        return [Problem(CODE, f"none of its tensors is packed as {scheme}", fix=fix)]
    return list(islice(_by_names(variant, packed, root), _MOST))


def packed_problems(base: BaseView, name: str) -> list[Problem]:
    """Return the problem of a delta on a base with packed weights; empty for any other base."""
    quantisation = read_quantisation(base.config)
    if quantisation is None:
        return []
    how = quantisation.scheme or quantisation.method
    fix = "push for the base in full precision that it was packed from"
    if quantisation.scheme is not None:
        fix = (
            f"register it as a variant: deltareg base register PATH {name or 'NAME'}"
            f" --variant-of ROOT --quantised {quantisation.scheme}"
        )
    wrong = f"the base {name or 'named'} holds packed weights ({how})"
    return [Problem("quantised_base", wrong, fix=fix)]


def _contents(variant: BaseView, scheme: Scheme) -> PackedContents:
    quantisation = read_quantisation(variant.config)
    return contents(variant.tensors, scheme, {} if quantisation is None else quantisation.fields)


def _by_config(variant: BaseView, scheme: Scheme) -> Iterator[Problem]:
    quantisation = read_quantisation(variant.config)
    if quantisation is None or quantisation.scheme == scheme:
        return
    if quantisation.scheme is None:
        schemes = ", ".join(SCHEMES)
        wrong = f"its config says {quantisation.method}, which is none of {schemes}"
        yield Problem(CODE, wrong, fix="register it as a base of its own, without --variant-of")
        return
    wrong = f"its config says {quantisation.method}, which is {quantisation.scheme} here, not {scheme}"
    yield Problem(CODE, wrong, fix=f"say --quantised {quantisation.scheme}")


def _by_root(variant: BaseView, root: BaseView) -> Iterator[Problem]:
    quantisation = read_quantisation(root.config)
    if quantisation is not None:
        wrong = f"the base named is packed itself ({quantisation.scheme or quantisation.method})"
        yield Problem(CODE, wrong, fix="name the base in full precision with --variant-of")
    root_type, own = root.config.get("model_type"), variant.config.get("model_type")
    if root_type != own:
        yield Problem(CODE, f"it is a {own}, the base named is a {root_type}", fix="name its own base")


def _by_names(variant: BaseView, found: PackedContents, root: BaseView) -> Iterator[Problem]:
    own: _Shapes = {
        root.names.canonical(name): (packed.shape, packed.elements) for name, packed in found.packed.items()
    }
    plain = {root.names.canonical(name): variant.tensors[name].shape for name in found.plain}
    paths: set[str] = set()
    for name, record in root.tensors.items():
        path = root.names.canonical(name)
        paths.add(path)
        if path in plain or path in own:
            shape, most = (plain[path], 0) if path in plain else own[path]
            yield from _by_shape(name, record.shape, shape, most)
        elif not root.names.is_buffer(name) and not _is_shared(path, root, own.keys() | plain):
            yield Problem(CODE, f"it has no {name}", tensor=name, fix="name its own base")
    for path in sorted((own.keys() | plain) - paths):
        if not root.names.is_buffer(path) and not _is_shared(path, root, paths):
            wrong = f"the base named has no {path}"
            yield Problem(CODE, wrong, tensor=path, fix="name its own base")


def _is_shared(path: str, root: BaseView, others: "set[str]") -> bool:
    """Whether a name is tied to one that is present: either of the two may be stored."""
    return any(other in others for other in root.names.sharers(path) if other != path)


def _by_shape(name: str, wanted: tuple[int, ...], shape: tuple[int, ...] | None, most: int) -> Iterator[Problem]:
    if shape is None and prod(wanted) in {most, most - 1}:  # the last of an odd number has a byte
        return
    if shape == wanted:
        return
    actual = f"{most} numbers" if shape is None else str(list(shape))
    wrong = f"its {name} has {actual}, the base named has {list(wanted)}"
    yield Problem(CODE, wrong, tensor=name, fix="name its own base")
