"""`deltareg open`: the registry in a browser, logged in."""

import webbrowser
from urllib.parse import quote

import click

from deltareg.refs import Ref
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import CommandResult, FactsBlock
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 15


@command(
    "open",
    Example("what waits for you", "deltareg open"),
    Example("a version", "deltareg open me/chat:v3"),
    Example("why a channel serves what it serves", "deltareg open me/chat@prod"),
    Example("on a machine without a browser", "deltareg open --no-browser"),
    see_also=("up", "auth login", "show"),
)
@click.argument("ref", metavar="[REF]", required=False, help="What to open: ns/name, ns/name:v3, ns/name@prod.")
@option("--no-browser", is_flag=True, help="Only print the address, to open it elsewhere.")
@click.pass_obj
def open_pages(invocation: Invocation, ref: str | None, *, no_browser: bool) -> None:
    """Open the registry in a browser, logged in as you.

    The address holds a code that is good once and for a minute; your token does not go near the
    browser. The session may do what your token may, and ends with it or after 8 hours without use.
    """
    path = "/ui/" if ref is None else f"/ui/find?q={quote(str(Ref.parse(ref)), safe='/:@~.')}"
    opened = invocation.client.tokens.open_session()
    server = invocation.config.server.rstrip("/")
    url = f"{server}/ui/login?next={quote(path, safe='/')}#{opened.code}"
    output = invocation.output
    is_shown = not no_browser and not output.is_for_scripts and webbrowser.open(url)
    if is_shown:
        output.note(f"opened {server}{path}")
        return
    document: dict[str, object] = {"url": url, "expires_in_s": opened.expires_in_s}
    facts = FactsBlock([("open", url), ("within", f"{opened.expires_in_s} s, once")])
    output.show(CommandResult(document, [facts], [url]))
