"""Where a server on this machine has its files: an option of each command that needs no server that runs."""

from pathlib import Path

import click

data_dir_option = click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the embedded parts.")
