"""The commands of `deltareg-worker` by name: one is imported when it is called, and not what the others need.

A push waits for `golden`, and somebody at a keyboard for `probe`; what takes runs brings twice as much.
"""

import importlib
import signal

import click

_RUNNING = "deltareg_verify.command_line"
_WORKBENCH = {
    "backtest": "backtest",
    "behavior": "behavior",
    "faults": "backtest",
    "golden": "golden_recording",
    "pilot": "pilot",
    "probe": "probing",
}
"""The module of each command that does one thing and reports it."""


class WorkerCommands(click.Group):
    """The commands of the worker, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names of all commands."""
        importlib.import_module(_RUNNING)
        return sorted({*super().list_commands(ctx), *_WORKBENCH})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; None where there is none of that name."""
        if cmd_name not in _WORKBENCH:
            importlib.import_module(_RUNNING)
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"deltareg_verify.workbench.{_WORKBENCH[cmd_name]}")
        found: object = getattr(module, cmd_name)
        return found if isinstance(found, click.Command) else None


@click.group(cls=WorkerCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--with-parent", metavar="PID", type=int, help="End when the process that started it ends, which has this number."
)
def main(*, with_parent: int | None) -> None:
    """Verify the versions of a Delta Registry on their bases."""
    if with_parent is not None:
        from deltareg_verify.sandbox import layers

        layers.end_with(with_parent, signal.SIGTERM)
