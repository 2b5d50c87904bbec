"""Manifests by which other systems serve what a channel says; they are written, never applied.

A manifest is one moment of a channel: it names the version for good, and its bytes by their digest,
so that its meaning does not move with the channel. After a move it has to be written again.
"""

from collections.abc import Sequence

from deltareg.client.context import Context
from deltareg.client.manifests.dynamo import Dynamo
from deltareg.client.manifests.form import ExportOptions, Manifest, ManifestFormat
from deltareg.client.manifests.kserve import Kserve
from deltareg.client.manifests.llm_d import LlmD
from deltareg.client.manifests.served_names import ServedVersion, served_by
from deltareg.errors import InvalidInput
from deltareg.refs import LineRef

_FORMS: Sequence[ManifestFormat] = (Dynamo(), LlmD(), Kserve())
_ENGINE = "vllm"
_ALL = 100


def form_names() -> tuple[str, ...]:
    """Return the names of the systems."""
    return tuple(form.name for form in _FORMS)


def export(
    context: Context, line: LineRef, channel: str, form: str, *, options: ExportOptions, beside: str | None = None
) -> tuple[Sequence[Manifest], Sequence[ServedVersion]]:
    """Write the manifests of what a channel serves; return them and the versions that they serve.

    Args:
        context: The client's surroundings.
        line: The line.
        channel: Its channel.
        form: The system; one of `form_names`.
        options: What the registry does not know.
        beside: Another channel, which gets the rest of the requests.

    Raises:
        InvalidInput: An option is missing or of no use to the system, or it cannot serve the
            version.
        Conflict: The channel serves nothing.
        Blocked: The served version is revoked.
    """
    writer = next((each for each in _FORMS if each.name == form), None)
    if writer is None:
        raise InvalidInput(f"no format is called {form!r}", fix=f"one of {', '.join(form_names())}")
    _check(writer, options, beside)
    version = served_by(context, line, channel, engine=_ENGINE)
    other = None if beside is None else served_by(context, line, beside, engine=_ENGINE)
    manifests = writer.write(version, options, beside=other)
    return manifests, [version] if other is None else [version, other]


def _check(form: ManifestFormat, options: ExportOptions, beside: str | None) -> None:
    values = {name: getattr(options, name) for name in ExportOptions.__slots__}
    for name, value in values.items():
        if value not in {"", None} and name not in form.takes:
            flag = f"--{name.replace('_', '-')}"
            raise InvalidInput(f"{form.name} has no place for {flag}", fix="leave it out")
    if (options.weight is None) != (beside is None):
        raise InvalidInput("weights are of two channels", fix="--weight 10 --beside prod, or neither")
    if options.weight is not None and not 0 < options.weight < _ALL:
        raise InvalidInput(f"a weight of {options.weight}", fix=f"one from 1 to {_ALL - 1}")
