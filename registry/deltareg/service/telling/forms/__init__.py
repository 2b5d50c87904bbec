"""The forms in which events are sent: one file each, found by looking into this folder.

A file holds an `EventForm` at module level. Another distribution adds one under the entry-point group
`deltareg.event_forms`. A webhook keeps the name of its form: what is uninstalled is sent no more, and
the webhook's deliveries say so.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from deltareg.errors import InvalidInput, Misconfigured
from deltareg.service.telling.event_form import EventForm

GROUP = "deltareg.event_forms"


@cache
def all_forms() -> Mapping[str, EventForm]:
    """Give every form by its name, in order.

    Raises:
        Misconfigured: Two have one name, or an entry point is no form.
    """
    names = (module.name for module in iter_modules(__path__, f"{__name__}."))
    found: list[object] = [value for name in names for value in vars(import_module(name)).values()]
    forms = [value for value in found if isinstance(value, EventForm)]
    forms += [_check(point.value, point.load()) for point in entry_points(group=GROUP)]
    by_name = {form.name: form for form in sorted(forms, key=lambda form: form.name)}
    if len(by_name) < len(forms):
        raise Misconfigured("two forms of events have one name", fix=f"uninstall one of the group {GROUP}")
    return by_name


def find_form(name: str) -> EventForm:
    """Find a form.

    Raises:
        InvalidInput: There is none of this name; names those that there are.
    """
    found = all_forms().get(name)
    if found is None:
        raise InvalidInput(f"this server writes no form {name[:40]!r}", fix=f"use {', '.join(all_forms())}")
    return found


def _check(where: str, value: object) -> EventForm:
    if not isinstance(value, EventForm):
        raise Misconfigured(f"{where} is no EventForm", fix="uninstall it, or fix it")
    return value
