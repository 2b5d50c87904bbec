"""What a version is labelled with when a channel promotes it: `label: {released: "{date}"}`."""

import re
from collections.abc import Mapping

from deltareg.documents.json_values import is_object
from deltareg.documents.strict_fields import DocumentPlace, describe_value

PLACES = ("date", "channel")
_MOST = 8
_PLACE = re.compile(r"\{([^{}]*)\}")


def parse_labels(value: object, place: DocumentPlace) -> dict[str, str]:
    """Parse labels as a policy writes them: a text each, in which `{date}` and `{channel}` stand.

    Raises:
        InvalidInput: They are no labels, too many, or name a place that there is not.
    """
    fields = value if is_object(value) else {}
    if not 0 < len(fields) <= _MOST:
        raise place.wrong(f"takes up to {_MOST} labels, not {describe_value(value)}", fix='write {released: "{date}"}')
    labels: dict[str, str] = {}
    for name in sorted(fields):
        text = fields[name]
        if not isinstance(text, str):
            raise place.at(name).wrong(f"is no text: {describe_value(text)}", fix=f'write {{{name}: "{{date}}"}}')
        strange = next((each for each in _PLACE.findall(text) if each not in PLACES), None)
        if strange is not None:
            raise place.at(name).wrong(f"names {{{strange}}}", fix="write {date} or {channel}")
        labels[name] = text
    return labels


def fill_labels(labels: Mapping[str, str], *, date: str, channel: str) -> dict[str, str]:
    """Return the labels of a promotion on a date to a channel."""
    values = {"date": date, "channel": channel}
    return {name: _PLACE.sub(lambda found: values[found[1]], text) for name, text in labels.items()}
