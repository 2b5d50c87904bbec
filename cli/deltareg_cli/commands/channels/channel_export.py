"""`deltareg channel export`: what a channel serves, as other systems are told to serve it."""

import click

from deltareg.errors import InvalidInput
from deltareg.refs import Ref
from deltareg_cli.invocation import Invocation
from deltareg_cli.options.options import ChannelParam, option
from deltareg_cli.terminal.blocks import CommandResult
from deltareg_cli.terminal.wording import clean
from deltareg_cli.tree.command_tree import command
from deltareg_cli.tree.help_page import Example

CLUSTER, SPLIT = "What the registry does not know", "Two channels (llm-d)"


@command(
    "export",
    Example(
        "a DynamoModel of what prod serves",
        "deltareg channel export me/chat@prod --format dynamo --base-model llama > model.yaml",
    ),
    Example(
        "a tenth of the requests for me/chat to staging",
        "deltareg channel export me/chat@staging --format llm-d --pool llama \\\n"
        "      --weight 10 --beside prod > rewrite.yaml",
    ),
    Example(
        "a KServe service with the adapter",
        "deltareg channel export me/chat@prod --format kserve --base-uri hf://shared/llama",
    ),
    see_also=("channel show", "agent run"),
)
@click.argument("line", metavar="NS/NAME@CHANNEL", help="The channel.")
@option(
    "--format",
    "form",
    type=click.Choice(["dynamo", "llm-d", "kserve"]),
    required=True,
    help="Which system the manifest is for.",
)
@option("--base-model", metavar="NAME", default="", section=CLUSTER, help="What the base is served as.")
@option("--base-uri", metavar="URI", default="", section=CLUSTER, help="Where KServe gets the base.")
@option("--pool", metavar="NAME", default="", section=CLUSTER, help="The InferencePool of the pods.")
@option("--model", metavar="NAME", default="", section=CLUSTER, help="What clients ask llm-d for; NS/NAME else.")
@option(
    "--weight",
    metavar="N",
    type=click.IntRange(1, 99),
    section=SPLIT,
    help="So many of a hundred requests go to what the channel serves.",
)
@option(
    "--beside", metavar="CHANNEL", type=ChannelParam(), section=SPLIT, help="The others go to what this channel serves."
)
@click.pass_obj
def export(
    invocation: Invocation,
    line: str,
    *,
    form: str,
    base_model: str,
    base_uri: str,
    pool: str,
    model: str,
    weight: int | None,
    beside: str | None,
) -> None:
    """Print manifests that have a cluster serve what a channel says.

    A manifest is one moment of the channel: it names the version for good and its bytes by their
    digest, and stays what it is when the channel moves. It is printed, as YAML, and nothing is
    applied: have it written anew after a move, and let what applies your manifests see the change.

    dynamo is a DynamoModel, which needs --base-model. llm-d is an InferenceModelRewrite, which
    needs --pool; its pods are vLLM with the plug-in of this package. kserve is an
    LLMInferenceService, which needs --base-uri. Pods get the bytes from the registry as from the
    Hugging Face Hub, with HF_ENDPOINT and HF_TOKEN set.

    A version that vLLM cannot serve, or that was revoked, is refused. One that its channel would
    not take now is exported, and a warning says why.
    """
    from deltareg.client.manifests.form import ExportOptions
    from deltareg.documents.yaml_document import write_yaml  # what other lines need not load

    ref = Ref.parse(line)
    if ref.channel is None or ref.host or ref.revision is not None or ref.back:
        raise InvalidInput(f"{line[:120]!r} names no channel", fix="write me/chat@prod")
    options = ExportOptions(base_model, base_uri, pool, model, weight)
    manifests, served = invocation.client.channels.export(
        str(ref.line), ref.channel, form, options=options, beside=beside
    )
    for one in served:
        for why in one.unfit:
            warning = f"{one.line}@{one.channel} serves what it would not take now: {why}"
            invocation.output.note(clean(f"warning: {warning}"))
    raw = "---\n".join(write_yaml(manifest, is_ascii=True) for manifest in manifests)
    document = {"format": form, "items": list(manifests)}
    invocation.output.show(CommandResult(document, [], [one.exact for one in served], raw=raw))
