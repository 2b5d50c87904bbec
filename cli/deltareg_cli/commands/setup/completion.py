"""`deltareg completion`: scripts that complete commands in a shell."""

import click
from click.shell_completion import get_completion_class

from deltareg_cli.invocation import Invocation
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

ORDER = 50

SHELLS = {"bash": "bash", "zsh": "zsh", "fish": "fish", "pwsh": "powershell"}
VARIABLE = "_DELTAREG_COMPLETE"


@command(
    "completion",
    Example("bash, from the next shell on", "echo 'eval \"$(deltareg completion bash)\"' >> ~/.bashrc"),
    Example("zsh", "echo 'eval \"$(deltareg completion zsh)\"' >> ~/.zshrc"),
    Example("fish", "deltareg completion fish > ~/.config/fish/completions/deltareg.fish"),
    Example("PowerShell", "deltareg completion pwsh >> $PROFILE"),
)
@click.argument("shell", type=click.Choice(list(SHELLS)), metavar="SHELL", help="The shell.")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands in a shell.

    It completes commands, options, channels and codes. Shells: bash, zsh, fish, pwsh.
    """
    completion_class = get_completion_class(SHELLS[shell])
    if completion_class is None:
        raise LookupError(shell)  # click dropped a shell that our table names
    script = completion_class(ctx.find_root().command, {}, "deltareg", VARIABLE).source()
    invocation = ctx.find_object(Invocation) or Invocation()
    document: dict[str, object] = {"shell": shell, "script": script}
    invocation.output.show(CommandResult(document, [], [script], raw=script))
