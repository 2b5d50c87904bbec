"""Checks, before the first step of a training, what its pushes would fail on after hours.

What no retry mends stops a training here: a token that may not push, a base that nobody knows, a
model that was loaded from another base than the one that is named. A server that is away stops
nothing, since results stay on disk until they can be pushed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from deltareg.client import Client
from deltareg.errors import (
    BaseMismatch,
    DeltaregError,
    Forbidden,
    InvalidInput,
    Misconfigured,
    NotFound,
    Unauthenticated,
)
from deltareg.refs import LineRef
from deltareg.wire import BaseInfo

FOR_GOOD: tuple[type[DeltaregError], ...] = (
    BaseMismatch,
    Forbidden,
    InvalidInput,
    Misconfigured,
    NotFound,
    Unauthenticated,
)
"""The errors that come again however often a push is tried."""


def check_before_training(
    client: Client, line: str, base: str | None, *, model: object = None, channel: str = ""
) -> None:
    """Check that pushing to a line will work; sends no bytes.

    Args:
        client: The client to push with.
        line: The line.
        base: The base that is named; None for the one that the model was loaded from.
        model: The model, if it is known.
        channel: The channel that will be moved too, if any.

    Raises:
        InvalidInput: The line has no valid name, or no base is known.
        Unavailable: The server does not answer.
        Unauthenticated, Forbidden: The token may not push there, or not move the channel.
        NotFound: There is no such base.
        BaseMismatch: The model was loaded from another base.
    """
    LineRef.parse(line)
    client.meta()  # asks once: a training does not wait for a server that is away
    _check_right(client, "push", line)
    if channel:
        _check_right(client, "promote", f"{line}@{channel}")
    _check_base(client, base, _config_of(model))


def _check_right(client: Client, right: str, of: str) -> None:
    who = client.whoami()
    if not {right, "admin"} & set(who.scopes):
        raise Forbidden(
            f"the token of {who.principal} is for {', '.join(who.scopes)}, not for {right}",
            fix=f"deltareg token create --for {who.principal} --scope read --scope {right}",
        )
    allowed = client.members.explain(who.principal, right, of)
    if not allowed.allowed:
        raise Forbidden(f"{who.principal} may not {right} to {allowed.ref}", fix=allowed.fix)


def _check_base(client: Client, base: str | None, config: Mapping[str, object] | None) -> None:
    """Look up the base that is named, and the one that the model's own config names."""
    if base is None:
        if config is not None:
            client.bases.named_in(config)
        return
    if Path(base).exists() or ":" in base:  # a folder or a version, which the push itself compares
        return
    meant = client.bases.show(base)
    loaded = _find_loaded(client, config)
    if loaded is not None and not _are_related(meant, loaded):
        raise BaseMismatch(
            f"the model was loaded from {loaded.name}, and base={base!r} names another base",
            fix=f"base={loaded.name!r}, or load the model from {base}",
        )


def _are_related(one: BaseInfo, other: BaseInfo) -> bool:
    """Whether two bases are one, or one is a packed form of the other."""
    forms = [{base.name, *([base.variant_of.name] if base.variant_of else [])} for base in (one, other)]
    return bool(forms[0] & forms[1])


def _find_loaded(client: Client, config: Mapping[str, object] | None) -> BaseInfo | None:
    """Return the registered base that a model was loaded from; None if unknown."""
    try:
        found = "" if config is None else client.bases.named_in(config)
        return client.bases.show(found) if found and not Path(found).exists() else None
    except (InvalidInput, NotFound):
        return None


def _config_of(model: object) -> Mapping[str, object] | None:
    """Return what an adapter of peft says of its base; None for any other model."""
    inner = getattr(model, "module", model)  # what runs on several devices wraps it
    configs = getattr(inner, "peft_config", None)
    if not isinstance(configs, Mapping) or not configs:
        return None
    known = cast("Mapping[str, object]", configs)
    active = getattr(inner, "active_adapter", None)
    config = known.get(active) if isinstance(active, str) else None
    config = next(iter(known.values())) if config is None else config
    fields = ("base_model_name_or_path", "revision")
    return {name: getattr(config, name, None) for name in fields}
