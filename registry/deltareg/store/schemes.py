"""The stores there are, by the scheme of the URL that opens one: found by looking into this folder.

A file here, or the folder of a store that needs several, holds a `StoreScheme` at module level, and
loads its library when a store is opened and not before. Another distribution adds a store under the
entry-point group `deltareg.stores`, by the name of its scheme.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from deltareg.errors import StoreMisconfigured
from deltareg.host.urls import split_url
from deltareg.store.blob_store import BlobStore

GROUP = "deltareg.stores"
_FOLDER = "deltareg.store"
_PREFIX = "DELTAREG_"

Options = TypeVar("Options")


@dataclass(frozen=True, slots=True)
class NoOptions:
    """What a store is opened with that needs nothing but its URL."""


@dataclass(frozen=True, slots=True)
class StoreSetting:
    """Marks an option that operators set, by a variable of the environment.

    ::

        region: Annotated[str, StoreSetting("S3 region.")] = "us-east-1"

    Attributes:
        about: What it does, for the page of the settings.
    """

    about: str


@dataclass(frozen=True, slots=True)
class StoreScheme(Generic[Options]):
    """A scheme of URLs, and how the store that one names is opened.

    Attributes:
        name: The scheme: `s3`. Its settings are `DELTAREG_S3_…`.
        form: How such a URL is written, for who wrote another one.
        open: Opens the store, which may load a library; raises `StoreMisconfigured`.
        options: What is to be known besides the URL: a dataclass whose fields have defaults.
    """

    name: str
    form: str
    open: Callable[[str, Options], BlobStore]
    options: type[Options]

    def settings(self) -> Iterator[tuple[str, str, StoreSetting]]:
        """Give the field, the variable of the environment and the mark of each setting."""
        for name, hint in get_type_hints(self.options, include_extras=True).items():
            for mark in getattr(hint, "__metadata__", ()):
                if isinstance(mark, StoreSetting):
                    yield name, f"{_PREFIX}{self.name}_{name}".upper(), mark


@cache
def all_schemes() -> Mapping[str, StoreScheme[Any]]:
    """Give the schemes of this folder by name."""
    path = import_module(_FOLDER).__path__
    modules = sorted(module.name for module in iter_modules(path, f"{_FOLDER}."))
    found: list[object] = [value for name in modules for value in vars(import_module(name)).values()]
    schemes: list[StoreScheme[Any]] = [value for value in found if isinstance(value, StoreScheme)]
    return {scheme.name: scheme for scheme in schemes}


@cache
def added_schemes() -> Sequence[EntryPoint]:
    """Give what other distributions add: looked for once, as that reads a file of all that are installed."""
    return tuple(entry_points(group=GROUP))


def find_scheme(url: str) -> StoreScheme[Any]:
    """Find what opens a URL, here or in another distribution.

    Raises:
        StoreMisconfigured: Nothing does, two do, or what says so is no scheme.
    """
    name = split_url(url).scheme
    found = [_check(point.value, point.load()) for point in added_schemes() if point.name == name]
    found += [all_schemes()[name]] if name in all_schemes() else []
    if len(found) > 1:
        raise StoreMisconfigured(f"two stores open {name}://", fix="uninstall one of them")
    if not found:
        raise not_a_url(url)
    return found[0]


def read_options(url: str, variables: Mapping[str, str]) -> object:
    """Read what a URL's store is opened with out of variables of the environment.

    Raises:
        StoreMisconfigured: One of them cannot be read, or they do not fit together.
    """
    scheme = find_scheme(url)
    given = {name.upper(): value for name, value in variables.items()}
    named = {field: variable for field, variable, _ in scheme.settings()}
    values = {field: given[variable] for field, variable in named.items() if variable in given}
    adapter: TypeAdapter[object] = TypeAdapter(scheme.options)
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        variable = named.get(str(first["loc"][0]) if first["loc"] else "", _PREFIX + scheme.name)
        raise StoreMisconfigured(
            f"{variable}: {first['msg'].lower()}", fix=f"set {variable} to another value, or unset it"
        ) from error


def not_a_url(url: str, what: str = "a store") -> StoreMisconfigured:
    """Word the refusal of a URL that cannot be read."""
    forms = [scheme.form for scheme in all_schemes().values()]
    added = [f"{point.name}://…" for point in added_schemes()]
    return StoreMisconfigured(f"not the URL of {what}: {url!r}", fix=f"write {' or '.join([*forms, *added])}")


def _check(where: str, value: object) -> StoreScheme[Any]:
    if not isinstance(value, StoreScheme):
        raise StoreMisconfigured(f"{where} is no StoreScheme", fix="uninstall it, or mend it")
    return value  # pyright: ignore[reportUnknownVariableType]  # of whatever options
