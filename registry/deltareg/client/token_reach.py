"""Which server gets a token: decided here, for every command, agent, worker and program.

A folder that somebody cloned may name any server in its `deltareg.toml`. Such a server gets no token,
except the one that `deltareg auth login` keeps for it: logging in there was the user's own word.
"""

from deltareg.client.config import ClientConfig
from deltareg.errors import Misconfigured
from deltareg.host.token_files import is_confidential, read_token


def why_withheld(config: ClientConfig) -> Misconfigured | None:
    """Return why the token of these settings is not sent to their server; None if it may go.

    Without a token there is an error only if one exists that is not meant for the server.
    """
    message, fix = config.withheld
    if message and not config.token:
        return Misconfigured(message, fix=fix)
    if not config.token:
        return None
    if config.named_in and config.token != read_token(config.server):
        return not_meant(config)
    if config.insecure_http or is_confidential(config.server):
        return None
    return Misconfigured(
        f"plain http would show the token to everybody between here and {config.server}",
        fix="use https://…; where the network is yours alone: DELTAREG_INSECURE_HTTP=1",
    )


def why_not_exchanged(config: ClientConfig) -> Misconfigured | None:
    """Return why nothing of this job is exchanged with the server; None if it may be: by the same rules."""
    if config.named_in:
        return not_meant(config)
    if config.insecure_http or is_confidential(config.server):
        return None
    return Misconfigured(
        f"plain http would show what the CI says of this job to everybody between here and {config.server}",
        fix="use https://…",
    )


def not_meant(config: ClientConfig) -> Misconfigured:
    """Build the error for a server that somebody else names, and that a token was about to go to."""
    return Misconfigured(
        f"{config.named_in} names the server {config.server}, and does not get a token for it",
        fix=f"if that server is meant, name it yourself: --server {config.server}, or DELTAREG_SERVER",
    )
