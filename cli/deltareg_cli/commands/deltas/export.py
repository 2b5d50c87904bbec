"""`deltareg export`: write a version in a form that other stores take, or its bill of materials."""

from pathlib import Path

import click

from deltareg.errors import InvalidInput
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import option
from deltareg_cli.terminal.blocks import Cell, CommandResult, FactsBlock, TitleBlock
from deltareg_cli.terminal.wording import count, size
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.global_options import concurrency_option
from deltareg_cli.tree.help_page import Example
from deltareg_cli.views.revocations import warn

ORDER = 55

_NAMES = {"application/vnd.dev.sigstore.bundle.v0.3+json": "signature", "application/vnd.in-toto+json": "statement"}


@command(
    "export",
    Example("to a folder", "deltareg export me/chat:v3 --oci ./chat-oci"),
    Example(
        "to a registry of images and artifacts", "deltareg export me/chat@prod --oci oci://registry.example/models/chat"
    ),
    Example(
        "for an image volume of Kubernetes",
        "deltareg export me/chat:v3 --oci oci://registry.example/models/chat --profile image",
    ),
    Example("what it is made of, for an audit", "deltareg export me/chat:v3 --bom chat.cdx.json"),
    see_also=("import", "pull", "materialize", "help references"),
    is_resumable=True,
)
@click.argument("ref", help="What to export; a bare NS/NAME is what @prod serves.")
@option(
    "--oci",
    "target",
    metavar="DIR|oci://HOST/REPOSITORY[:TAG]",
    help="A folder, which becomes an OCI layout, or a repository of a registry. Without a tag it is the version's, v3.",
)
@option(
    "--profile",
    type=click.Choice(["modelpack", "image"]),
    default="modelpack",
    show_default=True,
    help="A layer for each file, or one layer that container runtimes mount.",
)
@option("--bom", metavar="FILE", type=click.Path(path_type=Path), help="Write its bill of materials there instead.")
@concurrency_option()
@click.pass_obj
def export(invocation: Invocation, ref: str, *, target: str | None, profile: str, bom: Path | None) -> None:
    """Write a version as an OCI artifact, or what it is made of.

    With --profile modelpack it is an artifact of the ModelPack specification, a layer for each
    file, which oras, modctl and others fetch. With --profile image it is an image whose files lie
    in models/, for an image volume of Kubernetes or for KServe. Layers are not compressed.

    The same version is the same artifact, byte for byte, whoever exports it and when. What was
    signed about it goes along: signatures of its files, attestations, verdicts of enrolled
    workers, each as a referrer of the artifact. A registry that knows no referrers gets them under
    the tag that the specification names for that.

    The login of a registry is the one that docker login or oras login wrote down. A layout gets
    the version added; a tag that another delta has there is not taken from it.

    The bill of materials is a CycloneDX document: base, data, licences, tools and verdicts. Data and
    licences are what the card claims.
    """
    if (target is None) == (bom is None):
        raise InvalidInput("say where to", fix=f"deltareg export {ref} --oci DIR, or --bom FILE")
    if bom is not None:
        _write_bill(invocation, ref, bom)
        return
    from deltareg.integrations.oci.exporting import export_version  # brings what packs

    report = export_version(invocation.client, ref, str(target), profile="image" if profile == "image" else "modelpack")
    warn(invocation, report.ref, report.revocation)
    signed = [count(n, _NAMES.get(kind, kind)) for kind, n in report.referrers.items()]
    facts = FactsBlock(
        [
            ("at", Cell(report.place, "name")),
            ("form", report.profile),
            ("size", size(report.size_bytes)),
            ("referrers", ", ".join(signed) or "none: nothing was signed about it"),
            ("digest", report.digest),
        ]
    )
    state = "revoked" if report.revocation else ""
    invocation.output.show(CommandResult(report.to_dict(), [TitleBlock(report.ref, state), facts], [report.place]))


def _write_bill(invocation: Invocation, ref: str, path: Path) -> None:
    import deltareg
    from deltareg.client.report_files.bill_of_materials import gather_facts, write_bill
    from deltareg.client.report_files.writing import write_whole

    facts = gather_facts(invocation.client, ref)
    write_whole(path, write_bill(facts, release=deltareg.__version__))
    shown = FactsBlock([("bill", Cell(str(path), "name")), ("verdicts", f"{len(facts.verdicts)}")])
    invocation.output.show(
        CommandResult(
            {"ref": facts.version.ref, "path": str(path)}, [TitleBlock(facts.version.ref), shown], [str(path)]
        )
    )
