"""A request of one process to another: a dataclass of paths and plain values, as JSON."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Self, cast

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class ProcessRequest:
    """A request; a frozen dataclass of it has the fields, which may be dataclasses themselves."""

    __slots__ = ()

    def encode(self) -> bytes:
        """Write it as JSON."""
        return json.dumps(asdict(cast("DataclassInstance", self)), default=str).encode()

    @classmethod
    def decode(cls, raw: str | bytes) -> Self:
        """Read what `encode` wrote, or the command line; paths are paths again.

        Raises:
            ValidationError: A field is missing, unknown or of another type.
        """
        return TypeAdapter(cls).validate_json(raw, extra="forbid")
