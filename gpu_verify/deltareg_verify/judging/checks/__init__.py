"""The checks of the worker, one file each; the folder is scanned, so adding a file is enough."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from deltareg_verify.judging.check import Check


@cache
def all_checks() -> Mapping[str, Check]:
    """Return every check by name."""
    checks: dict[str, Check] = {}
    for module in iter_modules(__path__, f"{__name__}."):
        check = import_module(module.name).CHECK
        assert isinstance(check, Check), f"{module.name} has no CHECK"
        assert module.name.endswith(f".{check.name}"), f"{module.name} holds check {check.name}"
        checks[check.name] = check
    return checks
