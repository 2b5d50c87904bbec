"""A request of one process to another: a dataclass of paths and plain values, as JSON."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def encode_request(request: "DataclassInstance") -> str:
    """Encode a request as JSON."""
    return json.dumps(asdict(request), default=str)


def decode_fields(kind: "type[DataclassInstance]", text: str | bytes) -> dict[str, Any]:
    """Decode the fields that `encode_request` wrote; paths are paths again."""
    values: dict[str, Any] = json.loads(text)
    for one in fields(kind):
        if one.type in {Path, Path | None} and values.get(one.name) is not None:
            values[one.name] = Path(values[one.name])
    return values
