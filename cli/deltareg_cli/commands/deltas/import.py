"""`deltareg import`: push what lies in another store."""  # noqa: N999  # named as its command

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import message_option, option, parse_labels
from deltareg_cli.terminal.wording import clean
from deltareg_cli.tree.command_tree import Body, command, group
from deltareg_cli.tree.help_page import Example

if TYPE_CHECKING:
    from deltareg.integrations.imported import ImportedFolder

ORDER = 35


@group(
    "import",
    Example("a download of the hub", "deltareg import hf-folder ./adapter me/chat --base llama"),
    Example("a model of MLflow", "deltareg import mlflow models:/support@champion me/support"),
    Example("an artifact of a registry", "deltareg import oci oci://registry.example/m/chat:v1 me/chat"),
    see_also=("push", "export", "convert"),
)
def import_() -> None:
    """Push what lies in another store.

    It goes through the same push as any folder: recognised, checked against its base, encoded. Where
    it came from is kept as labels of the version, imported.from and imported.digest.
    """


def _add_push_options(body: Body) -> Body:
    """Add the options that describe the version, which all import commands share."""
    for decorate in (
        option(
            "--label",
            "labels",
            multiple=True,
            metavar="KEY[=VALUE]",
            callback=parse_labels,
            help="A label of your own; may be repeated.",
        ),
        option(
            "--parent",
            "parents",
            multiple=True,
            metavar="REF",
            help="A version that this one was made from; may be repeated.",
        ),
        message_option(),
        option(
            "--base",
            metavar="NAME|PATH|REF",
            help="The base that it was made against. Without it, the one that it names itself.",
        ),
        click.argument("line", metavar="NS/NAME", help="The line that gets the new version."),
    ):
        body = decorate(body)
    return body


@command(
    "hf-folder",
    Example(
        "a repository of the hub's cache",
        "deltareg import hf-folder ~/.cache/huggingface/hub/models--org--adapter me/adapter",
    ),
    Example("a download", "deltareg import hf-folder ./adapter me/adapter --base llama"),
    see_also=("import mlflow", "push"),
)
@click.argument("path", type=click.Path(path_type=Path), help="A snapshot, or a download.")
@_add_push_options
@click.pass_obj
def hf_folder(
    invocation: Invocation,
    path: Path,
    line: str,
    *,
    base: str | None,
    message: str,
    parents: tuple[str, ...],
    labels: dict[str, str],
) -> None:
    """Push a folder that a client of the Hugging Face Hub left.

    The hub's cache consists of links, which a push refuses. This command follows them within their
    repository, and records repository and revision where the folder names them. It never contacts
    the hub.
    """
    from deltareg.integrations import hf_folder as folders

    _push(invocation, folders.hf_folder(path), line, base, message, parents, labels)


@command(
    "mlflow",
    Example("what a run has logged", "deltareg import mlflow 4f0c…e1 me/support --base llama"),
    Example("a registered model", "deltareg import mlflow models:/support@champion me/support"),
    see_also=("import oci", "push"),
)
@click.argument("named", metavar="RUN|models:/…", help="A run's id, or the address of a model.")
@option(
    "--path",
    metavar="FOLDER",
    default="",
    help="The folder among its artifacts; without it, the only one with a delta.",
)
@option("--tracking-uri", metavar="URI", envvar="MLFLOW_TRACKING_URI", help="Where MLflow keeps its runs.")
@_add_push_options
@click.pass_obj
def mlflow(
    invocation: Invocation,
    named: str,
    line: str,
    *,
    base: str | None,
    message: str,
    parents: tuple[str, ...],
    labels: dict[str, str],
    path: str,
    tracking_uri: str | None,
) -> None:
    """Push an artifact of an MLflow run, or of a registered model.

    A run's id, page, metrics and params become labels of the version.
    """
    from deltareg.integrations.mlflow_imports import mlflow_artifact

    brought = mlflow_artifact(named, path=path, tracking_uri=tracking_uri)
    _push(invocation, brought, line, base, message, parents, labels)


@command(
    "oci",
    Example("from a registry", "deltareg import oci oci://registry.example/m/chat:v1 me/chat"),
    Example("from a layout", "deltareg import oci ./chat-oci:v1 me/chat --base llama"),
    see_also=("export", "push"),
)
@click.argument("named", metavar="oci://…|DIR[:TAG]", help="The artifact.")
@_add_push_options
@click.pass_obj
def oci(
    invocation: Invocation,
    named: str,
    line: str,
    *,
    base: str | None,
    message: str,
    parents: tuple[str, ...],
    labels: dict[str, str],
) -> None:
    """Push a model that is kept as an OCI artifact.

    ModelPack artifacts are taken, and images with files in models/. Every blob is checked against its
    digest. What was exported by deltareg finds its base by the fingerprint that it was exported
    with, if that base is known here.
    """
    from deltareg.integrations.oci.importing import oci_artifact

    brought = oci_artifact(invocation.client, named)
    _push(invocation, brought, line, base, message, parents, labels)


def _push(
    invocation: Invocation,
    brought: "AbstractContextManager[ImportedFolder]",
    line: str,
    base: str | None,
    message: str,
    parents: tuple[str, ...],
    labels: dict[str, str],
) -> None:
    """Push the imported folder, and show the version."""
    from deltareg_cli.views.pushes import push_answer, told_of_push  # brings NumPy

    client = invocation.client
    with brought as origin:
        base_name = base or origin.base or client.bases.named_in(origin.folder)
        commit_message = message or f"imported from {origin.source}"
        report = client.push(
            origin.folder,
            line,
            base=base_name,
            trained_on=origin.base or None if base is None else None,  # as the registry had recorded it
            message=commit_message,
            parents=parents,
            labels=origin.all_labels() | labels,
            golden=None,
        )
    invocation.output.note(clean(f"from {origin.source}, made on {base_name}"))
    told_of_push(invocation, report)
    invocation.output.show(push_answer(report, None, now=invocation.now))


for _command in (hf_folder, mlflow, oci):
    import_.add_command(_command)
