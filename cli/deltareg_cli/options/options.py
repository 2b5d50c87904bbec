"""Options with a place on the help page, and the kinds of value that options take."""

from collections.abc import Sequence
from functools import partial

import click
from click.shell_completion import CompletionItem

from deltareg.client.quantities import parse_age, parse_duration, parse_size
from deltareg.errors import InvalidInput


class Option(click.Option):
    """An option that stands in a section of the help page; a global one stands at its foot.

    With `bare`, `--verify` alone means `--verify=BARE`, and the next word is never its value.
    """

    def __init__(
        self,
        param_decls: Sequence[str],
        *,
        section: str = "Options",
        is_global: bool = False,
        bare: str | None = None,
        **attributes: object,
    ) -> None:
        """Take the option's place on the page, and everything that click's option takes."""
        super().__init__(param_decls, **attributes)  # type: ignore[arg-type]  # handed through
        self.section = section
        self.is_global = is_global
        self.bare = bare


option = partial(click.option, cls=Option)


class DurationParam(click.ParamType[float]):
    """A duration; its value is in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read `30s`, `1h30m` or a number of seconds."""
        return value if isinstance(value, float) else parse_duration(str(value))


class AgeParam(click.ParamType[float]):
    """A duration with its unit; its value is in seconds."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read `30d`, `12h` or `0`."""
        return value if isinstance(value, float) else parse_age(str(value))


class SizeParam(click.ParamType[int]):
    """A number of bytes."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read `50GB`, `512MiB` or a number of bytes."""
        return value if isinstance(value, int) else parse_size(str(value))


class VersionNumber(click.ParamType[int]):
    """A version of a line that the command knows already: `v3` or `3`."""

    name = "version"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read `v3` or `3`."""
        digits = str(value).removeprefix("v")
        if digits.isdecimal() and int(digits) > 0:
            return int(digits)
        raise InvalidInput(f"not a version: {str(value)[:60]!r}", fix="write v3")


class RevisionNumber(click.ParamType[int]):
    """A revision of a channel that the command knows already: `#16` or `16`."""

    name = "revision"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read `#16` or `16`."""
        digits = str(value).removeprefix("#")
        if digits.isdecimal() and int(digits) > 0:
            return int(digits)
        raise InvalidInput(f"not a revision: {str(value)[:60]!r}", fix="write 16, or '#16'")


class ChannelParam(click.ParamType[str]):
    """The name of a channel; the shell is offered those that every line has."""

    name = "channel"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Offer the channels that every line has."""
        return [CompletionItem(name) for name in ("dev", "staging", "prod") if name.startswith(incomplete)]


def parse_labels(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> dict[str, str]:
    """Read labels: each `key=value`, or a word alone, whose value is empty."""
    labels: dict[str, str] = {}
    for text in value:
        key, _, rest = text.partition("=")
        if not key:
            raise click.BadParameter(f"{text!r} is not KEY or KEY=VALUE", ctx, param)
        labels[key] = rest
    return labels


def parse_label_filters(ctx: click.Context, param: click.Parameter, value: Sequence[str]) -> dict[str, str | None]:
    """Read labels to filter by; a key alone matches any value."""
    labels = parse_labels(ctx, param, value)
    return {key: text if f"{key}={text}" in value else None for key, text in labels.items()}


label_filter_option = partial(
    option,
    "--label",
    "labels",
    multiple=True,
    metavar="KEY[=VALUE]",
    callback=parse_label_filters,
    help="Only with this label; may be repeated.",
)
message_option = partial(option, "-m", "--message", "message", default="", metavar="TEXT", help="Why, for the record.")
reason_option = partial(option, "-m", "--reason", "reason", default="", metavar="TEXT", help="Why; kept in the ledger.")
required_reason_option = partial(
    option, "-m", "--reason", "reason", required=True, metavar="TEXT", help="Why; kept for good."
)
public_key_option = partial(
    option,
    "--key",
    "public",
    metavar="FILE",
    help="The public key of who signed, or the authority's "
    "certificate where the bundle has the signer's and lacks that.",
)
break_glass_option = partial(
    option,
    "--break-glass",
    is_flag=True,
    help="Move it although the rules say no; needs -m, and a review by somebody else.",
)
accept_warnings_option = partial(
    option, "--accept-warnings", is_flag=True, help="Let its verdicts warn: a protected channel asks for that word."
)
accept_undecided_option = partial(
    option,
    "--accept-undecided",
    is_flag=True,
    help="Waive comparisons that the samples do not decide, for 30 days; needs -m.",
)
new_base_option = partial(
    option, "--new-base", is_flag=True, help="Let the channel change its base: its hosts will need the new one."
)
timeout_option = partial(
    option,
    "--timeout",
    type=DurationParam(),
    default="30m",
    show_default=True,
    help="How long to wait; the run goes on after that.",
)
limit_option = partial(
    option,
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 200),
    section="Pages",
    help="How many entries a page has.",
)
cursor_option = partial(
    option, "--cursor", metavar="CURSOR", section="Pages", help="Where to go on; the page before names it."
)
