"""The command line of `deltareg-server`: run a server, alone or with workers, and check its settings."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click

from deltareg.api.backups import backup, prune, restore, verify
from deltareg.api.checking import check_all
from deltareg.api.doctor.command import doctor
from deltareg.api.first_start import local_worker_key, local_worker_token, prepare_data_dir
from deltareg.api.listening import start_listening
from deltareg.api.one_host import one_host
from deltareg.api.one_up import only_up
from deltareg.api.one_up_of_database import only_up_of
from deltareg.api.opening import read_settings, reporting_errors
from deltareg.api.own_keys import keys
from deltareg.api.own_workers import kept_running
from deltareg.api.places import data_dir_option
from deltareg.api.serving import serve
from deltareg.api.settings import ServerSettings
from deltareg.api.way_back import token
from deltareg.service.registry import Registry


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def server() -> None:
    """Run the Delta Registry server. `deltareg up` and `deltareg server` call this."""


@server.command()
@data_dir_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option("--workers", type=click.IntRange(0, 16), default=1, show_default=True)
def up(data_dir: Path | None, host: str | None, port: int | None, workers: int) -> None:
    """Run API and workers on this machine with embedded defaults."""
    with reporting_errors():
        settings = read_settings(data_dir=data_dir, host=host, port=port)
        prepare_data_dir(settings.data_dir)
        with only_up(settings.data_dir) as tell_address:
            listener, url, registry = start_listening(settings)
            tell_address(url)
            database = settings.effective_database_url
            with (
                one_host(database),
                only_up_of(database, settings.data_dir, url) if workers else nullcontext(),
                _workers(registry, settings, url, workers),
            ):
                serve(registry, settings, listener)


@server.command()
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
def run(host: str | None, port: int | None) -> None:
    """Run the API alone, with the settings of the environment."""
    with reporting_errors():
        settings = read_settings(host=host, port=port)
        if settings.effective_database_url.startswith("sqlite"):
            prepare_data_dir(settings.data_dir)
        listener, _, registry = start_listening(settings)
        with one_host(settings.effective_database_url):
            serve(registry, settings, listener)


@server.command()
@data_dir_option
def check(data_dir: Path | None) -> None:
    """Check settings, database, store and keys, and say what is wrong."""
    with reporting_errors():
        status = check_all(read_settings(data_dir=data_dir))
    if status:
        sys.exit(status)


for _command in (token, doctor, keys, backup, verify, prune, restore):
    server.add_command(_command)


@contextmanager
def _workers(registry: Registry, settings: ServerSettings, url: str, count: int) -> Generator[None, None, None]:
    """Run worker processes while the block lasts; their token allows verifying and nothing else."""
    environ = {}
    if count:
        environ = {
            "DELTAREG_WORKER_PER_HOST": str(count),
            **os.environ,
            "DELTAREG_TOKEN": local_worker_token(registry),
            "DELTAREG_SERVER": url,
            **local_worker_key(registry, settings),
        }
    scratch = settings.data_dir.absolute() / "workers"
    commands = [
        [
            sys.executable,
            "-m",
            "deltareg_verify",
            "--with-parent",
            str(os.getpid()),
            "run",
            "--server",
            url,
            "--name",
            f"local-{number}",
            "--scratch",
            str(scratch / str(number)),
        ]
        for number in range(count)
    ]
    with kept_running(commands, environ):
        yield
