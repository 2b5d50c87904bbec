"""Type guards for JSON values, so that the type checker follows."""

from typing import TypeGuard


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether a JSON value is an object; its keys are strings by JSON's own rule."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Whether a JSON value is a list."""
    return isinstance(value, list)


def is_count(value: object, *, below: int = 1 << 62) -> TypeGuard[int]:
    """Whether a JSON value is a non-negative integer; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < below
