"""Signing the command line in: a code that its person types into a browser, on any machine."""

import platform
import webbrowser
from dataclasses import replace

from deltareg.errors import DeltaregError, InvalidInput
from deltareg_cli.invocation import Invocation


def sign_in(invocation: Invocation) -> str:
    """Sign in where people do so with a provider; return the token, empty where they come with tokens.

    Raises:
        InvalidInput: There is nobody to sign in.
        WaitTimeout: Nobody has signed in, within the time.
    """
    from deltareg.client import Client  # what `--help` need not load

    config = replace(invocation.config, token=None, withheld=("", ""))
    with Client(config) as client:
        providers = client.signins.providers()
        if not providers:
            return ""
        if not invocation.may_ask:
            raise InvalidInput("nobody is there to sign in", fix="pipe a token: --token-stdin")
        asked = client.signins.ask_to_sign_in(platform.node())
        page = f"{config.server}/ui/device"  # this server's own, whatever the answer says
        names = " or ".join(provider.label for provider in providers)
        invocation.output.note(f"sign in with {names}, in a browser on any machine: {page}")
        invocation.output.note(f"type this code there, and into nothing else: {asked.code}")
        webbrowser.open(page)
        return client.signins.wait_for_token(asked)


def end_sign_in(invocation: Invocation) -> None:
    """End the sign-in that the kept token is of, if it is of one and the server can be asked."""
    if not invocation.config.token:
        return
    try:
        invocation.client.signins.end_sign_in()
    except DeltaregError as error:
        invocation.output.note(f"the server was not told: {error.message}")
