"""Labels of versions: the user's own words, set at the push and changeable at any time.

A label is a key with a value, which may be empty. Labels are no part of what a version is, so
changing them makes no new version.
"""

from collections.abc import Mapping

from deltareg.errors import InvalidInput

_MOST, _MOST_CHARACTERS = 64, 256
_NOT_IN_KEYS = frozenset("\"'\\=,")


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that nobody could search for, or that are notes rather than labels.

    Raises:
        InvalidInput: A label is such; the message names it.
    """
    check_count(labels)
    for key, value in labels.items():
        if max(len(key), len(value)) > _MOST_CHARACTERS:
            raise InvalidInput(
                f"the label {key[:40]!r} has more than {_MOST_CHARACTERS} characters",
                fix="put longer notes into the README.md of the folder",
            )
        is_key = key and key.isprintable() and not set(key) & _NOT_IN_KEYS and " " not in key
        if not is_key:
            raise InvalidInput(
                f"no key of a label: {key[:60]!r}; it holds no space, quote, backslash, comma or =",
                fix="KEY=VALUE, as in team=search, or a word alone",
            )
        if not value.isprintable():
            raise InvalidInput(
                f"the label {key!r} holds a line break or a control character",
                fix="put longer notes into the README.md of the folder",
            )


def check_count(labels: Mapping[str, str]) -> None:
    """Refuse more labels than a version may have.

    Raises:
        InvalidInput: There are more.
    """
    if len(labels) > _MOST:
        raise InvalidInput(
            f"a version may have {_MOST} labels, not {len(labels)}", fix="take some away: deltareg label rm REF KEY"
        )
