"""`deltareg auth`: the token that this machine shows to a server."""

import sys
from typing import TYPE_CHECKING

import click

from deltareg.client.token_reach import not_meant
from deltareg.errors import InvalidInput, Unauthenticated
from deltareg.host.token_files import forget_token, token_path, write_token
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.runs.signing_in import end_sign_in, sign_in
from deltareg_cli.terminal.blocks import Block, Cell, CommandResult, FactsBlock, LinesBlock, TitleBlock
from deltareg_cli.terminal.wording import moment
from deltareg_cli.tree.command_tree import command, group
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.client.config import ClientConfig
    from deltareg.wire import WhoAmI

ORDER = 10


@group(
    "auth",
    Example("who am I?", "deltareg auth status"),
    Example("keep a token for a server", "deltareg auth login --server https://deltas.example"),
    see_also=("token", "config"),
)
def auth() -> None:
    """Log in to a server and out again.

    The token for a registry on this machine (deltareg up) is found by itself. For another server it
    is kept in a file of its own that only you can read. DELTAREG_TOKEN and DELTAREG_TOKEN_FILE come
    before any kept token.
    """


@command(
    "login",
    Example("in a browser, or asks for a token", "deltareg auth login --server https://deltas.example"),
    Example("from a secret store", "pass deltareg | deltareg auth login --server https://deltas.example --token-stdin"),
    see_also=("auth status", "token create"),
)
@option("--token-stdin", is_flag=True, help="Read the token from stdin.")
@click.pass_obj
def login(invocation: Invocation, *, token_stdin: bool) -> None:
    """Sign in to a server, or keep a token for it.

    Where people sign in with a provider, you do so in a browser, on any machine. What is kept here
    then is a token that lives as long as the provider confirms you.

    Elsewhere a token comes from who runs the registry: deltareg token create --for YOU. It is never
    taken from the command line, where others on the machine could read it.
    """
    server = invocation.config.server
    token = ("" if token_stdin else sign_in(invocation)) or _read_token(invocation, is_on_stdin=token_stdin)
    who = invocation.log_in_with(token).whoami()
    path = write_token(server, token)
    rows: list[tuple[str, str | Cell]] = [("server", server), *_rows(who, invocation)]
    blocks: list[Block] = [TitleBlock("logged in"), FactsBlock([*rows, ("kept in", str(path))])]
    invocation.output.show(CommandResult(_document(who, server, str(path)), blocks, [who.principal]))
    _warn_of_environment(invocation)


@command("status", Example("who am I?", "deltareg auth status"), see_also=("auth login", "doctor"))
@click.pass_obj
def status(invocation: Invocation) -> None:
    """Say whose token is used, where it comes from, what it allows."""
    config = invocation.config
    origin = invocation.loaded.values[-1].origin
    if config.token is None and config.assertions is None:
        raise _nobody(config)
    who = invocation.client.whoami()
    if config.token is None:
        origin = "what the CI says of this job, exchanged"
    rows: list[tuple[str, str | Cell]] = [("server", config.server), *_rows(who, invocation)]
    blocks: list[Block] = [TitleBlock(who.principal), FactsBlock([*rows, ("token from", origin)])]
    invocation.output.show(CommandResult(_document(who, config.server, origin), blocks, [who.principal]))


@command("logout", Example("forget the token", "deltareg auth logout"), see_also=("token revoke",))
@click.pass_obj
def logout(invocation: Invocation) -> None:
    """Forget the token kept for the server, and end its sign-in.

    A token that an admin made the server still knows: deltareg token revoke makes it worthless.
    """
    server = invocation.config.server
    end_sign_in(invocation)
    existed = forget_token(server)
    text = "forgot the token for" if existed else "there was no token kept for"
    document: dict[str, object] = {"server": server, "forgotten": existed}
    invocation.output.show(CommandResult(document, [LinesBlock([[text, Cell(server, "name")]])], [server]))
    _warn_of_environment(invocation)


def _read_token(invocation: Invocation, *, is_on_stdin: bool) -> str:
    config = invocation.config
    if is_on_stdin:
        if config.named_in:
            raise not_meant(config)
        token = sys.stdin.read().strip()
    elif invocation.may_ask:
        prompt = f"Token for {config.server}" + (f", which {config.named_in} names" if config.named_in else "")
        token = str(click.prompt(prompt, hide_input=True, err=True)).strip()
    else:
        raise InvalidInput("nobody is there to ask for the token", fix="pipe it: --token-stdin")
    if not token or len(token.split()) != 1:
        raise InvalidInput("that is not a token", fix="deltareg token create --for YOU makes one")
    return token


def _nobody(config: "ClientConfig") -> Unauthenticated:
    return Unauthenticated(
        f"no token for {config.server} (looked in {token_path(config.server)})",
        fix="deltareg auth login, or on the machine of the registry: deltareg up",
    )


def _rows(who: "WhoAmI", invocation: Invocation) -> list[tuple[str, str | Cell]]:
    expires = moment(who.expires_at, now=invocation.now) if who.expires_at else "never"
    return [
        ("principal", f"{who.principal} ({who.kind})"),
        ("acts for", _people(who)),
        ("may", ", ".join(who.scopes)),
        ("only in", ", ".join(who.namespaces or [])),
        ("roles", "; ".join(who.roles)),
        ("expires", expires),
    ]


def _people(who: "WhoAmI") -> str:
    """Name the owner of a script or a worker, and who else counts as the same person."""
    others = [name for name in who.people if name != who.acts_for]
    owner = who.acts_for or ""
    return f"{owner} (and {', '.join(others)})" if owner and others else owner or ", ".join(others)


def _document(who: "WhoAmI", server: str, origin: str) -> dict[str, object]:
    return {"server": server, **who.model_dump(mode="json"), "token_from": origin}


def _warn_of_environment(invocation: Invocation) -> None:
    for name in ("DELTAREG_TOKEN", "DELTAREG_TOKEN_FILE"):
        if invocation.environ.get(name):
            invocation.output.note(f"{name} is set and comes before kept tokens")


for _command in (login, status, logout):
    auth.add_command(_command)
