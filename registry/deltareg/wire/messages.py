"""The two base classes of all messages, and lists of them."""

import math
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Annotated, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deltareg.documents.json_values import is_list, is_object, is_text
from deltareg.errors import InvalidInput
from deltareg.wire.tables import facts_html, one_line

Text = Annotated[str, Field(max_length=2_000)]
Reason = Annotated[str, Field(min_length=1, max_length=2_000)]
Item = TypeVar("Item")
_PLAIN = (str, int, float)
_NOTHING = ("", 0, False)


class _Message(BaseModel):
    """What both base classes have in common."""

    model_config = ConfigDict(frozen=True)

    def model_copy(self, *, update: Mapping[str, object] | None = None, deep: bool = False) -> Self:
        """Copy it with other values; their names are checked, the values are not."""
        unknown = (update or {}).keys() - type(self).model_fields.keys()
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        return super().model_copy(update=update, deep=deep)


class Answer(_Message):
    """Base of what the server sends: frozen, and open to new fields where it is read.

    Whoever builds one names its fields, and an unknown one is an error. Only what is read, from
    HTTP or out of the database, may have fields that this release does not know.
    """

    model_config = ConfigDict(extra="ignore")

    def __init__(self, /, **fields: object) -> None:
        self.__pydantic_validator__.validate_python(fields, self_instance=self, extra="forbid")

    # Without the mark pydantic would call it for each answer that it reads, and refuse new fields.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # functions take any

    def to_dict(self) -> dict[str, object]:
        """Return it as plain JSON values."""
        return self.model_dump(mode="json")

    def __repr__(self) -> str:
        """Return one line with what people look at first; `to_dict` has everything."""
        return one_line(type(self).__name__, self._in_short())

    def __str__(self) -> str:
        """Return the same line."""
        return repr(self)

    def _in_short(self) -> str:
        """Return the facts of that line: the first fields, unless a class has better words."""
        plain = ((name, value) for name, value in self.__repr_args__() if isinstance(value, _PLAIN))
        return ", ".join(f"{name}={value}" for name, value in plain if value not in _NOTHING)

    def _repr_html_(self) -> str:
        """Show it in notebooks: with the drawing registered for its class, or else as a table."""
        for module in [*_SHOWN_FROM]:
            import_module(module)
            _SHOWN_FROM.discard(module)
        kinds = (kind for kind in type(self).__mro__ if kind in _SHOWN_BY)
        draw = _SHOWN_BY.get(next(kinds, Answer))
        return facts_html(type(self).__name__, self.to_dict()) if draw is None else draw(self)


Told = TypeVar("Told", bound=Answer)
_SHOWN_BY: dict[type, Callable[..., str]] = {}
_SHOWN_FROM: set[str] = set()


def shown_from(module: str) -> None:
    """Name a module that uses `shown_by`; it is loaded when an answer is first shown."""
    _SHOWN_FROM.add(module)


def shown_by(kind: type[Told]) -> Callable[[Callable[[Told], str]], Callable[[Told], str]]:
    """Register a function that renders answers of a class, and of its subclasses, for notebooks."""

    def decorate(draw: Callable[[Told], str]) -> Callable[[Told], str]:
        _SHOWN_BY[kind] = draw
        return draw

    return decorate


class Request(_Message):
    """Base of what a client sends: an unknown field is an error, never ignored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _refuse_what_cannot_be_kept(self) -> Self:
        _check_storable(self.model_dump())
        return self


Asked = TypeVar("Asked", bound=Request)


class Page(Answer, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[Item]
    next_cursor: str | None = None


def request_of(kind: type[Asked], /, **fields: object) -> Asked:
    """Build a request from what somebody typed.

    Raises:
        InvalidInput: The server would refuse it.
    """
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{place}: {problem}" if place else problem) from error


def _check_storable(value: object) -> None:
    """Refuse what not every database can store: odd characters, numbers beyond 64 bits, NaN."""
    for leaf in _leaves(value):
        if isinstance(leaf, str) and not is_text(leaf):
            raise ValueError("text must not hold a NUL or half of a surrogate pair")
        if isinstance(leaf, int) and not -(1 << 63) <= leaf < 1 << 63:
            raise ValueError("a number must fit into 64 bits")
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise ValueError("a number must be finite")


def _leaves(value: object) -> Iterator[object]:
    if is_object(value):
        yield from value
        for item in value.values():
            yield from _leaves(item)
    elif is_list(value):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
