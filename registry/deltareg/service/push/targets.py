"""The target that a push names: checked before anything is looked up."""

from deltareg.delta.base_manifest import base_identity, base_view
from deltareg.errors import InvalidInput, Problem, Refused
from deltareg.identity.carried import check_carried
from deltareg.identity.manifest import BASE_KIND, Manifest
from deltareg.refs import LineRef, parse_base, parse_semver
from deltareg.service.authority.resources import Base
from deltareg.service.bases.stacks import is_version_base, parse_version_base
from deltareg.service.bases.variants import check_form
from deltareg.service.lines.labels import check_labels
from deltareg.service.registry import BASES, namespace_scope
from deltareg.wire import BaseForm, UploadOpen

_CURRENT = "push it with a current client"


def check_target(request: UploadOpen, manifest: Manifest) -> str:
    """Check what a push says about itself; return the scope that its bytes are stored in.

    Raises:
        InvalidInput: The target or another field is malformed.
        Refused: The manifest is that of a base that cannot be read.
    """
    if request.semver is not None:
        parse_semver(request.semver)
    check_labels(request.labels)
    check_carried(manifest.files)
    is_base = request.subject == "base"
    if is_base != (manifest.kind == BASE_KIND) or is_base != (manifest.base is None):
        raise InvalidInput(f"a manifest of kind {manifest.kind!r} is no {request.subject}")
    check_form(request.form)
    if is_base:
        _check_base(manifest)
        return _base_scope(request)
    return namespace_scope(LineRef.parse(request.target).namespace)


def _base_scope(request: UploadOpen) -> str:
    if not is_version_base(request.target):
        if parse_base(request.target) != request.target:
            message = f"not a base: {request.target[:140]!r}"
            raise InvalidInput(message, fix=f"write {parse_base(request.target)}")
        namespace = Base(request.target).namespace
        return BASES if namespace is None else namespace_scope(namespace)
    if request.register_only or request.form != BaseForm():
        raise InvalidInput("a version that is a base is stored, not registered")
    return namespace_scope(parse_version_base(request.target).line.namespace)


def _check_base(manifest: Manifest) -> None:
    """Refuse a base whose manifest cannot be read, because nobody could push a delta for it."""
    wrong = "it has no tensors" if not manifest.tensors else ""
    if not isinstance(manifest.config.get("config_json"), str):
        wrong = "it does not say what its config.json holds"
    if wrong:
        raise Refused([Problem("header", f"manifest of a base: {wrong}", fix=_CURRENT)])
    try:
        base_view(manifest)
        base_identity(manifest)
    except UnicodeEncodeError as error:
        what = f"manifest of a base: no text ({error.reason})"
        raise Refused([Problem("header", what, fix=_CURRENT)]) from error
