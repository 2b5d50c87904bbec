"""Assertions of GitLab CI/CD.

Claims: https://docs.gitlab.com/ci/secrets/id_token_authentication. A project and its namespace are
known by their numbers; `sub` is made of paths, which others may have later.
"""

import re

from deltareg.errors import InvalidInput
from deltareg.host.urls import split_url
from deltareg.service.access.exchange.providers.provider import (
    Claims,
    Conditions,
    check_environment,
    check_number,
    environment_misfit,
    is_text,
    ref_misfit,
    refuse_claims,
    whole_ref,
)
from deltareg.wire import TrustAdd

_FILE = re.compile(r"[A-Za-z0-9._/-]+\.ya?ml")
_WHOLE = re.compile(r"[A-Za-z0-9_./:-]+//[A-Za-z0-9._/-]+\.ya?ml@[^\s*]+")


class _GitLab:
    """gitlab.com, or a GitLab of one's own."""

    def conditions(self, request: TrustAdd) -> dict[str, object]:
        """Bind a trust to a project and its namespace; a plain file name is a configuration of that project."""
        refuse_claims(request)
        made: dict[str, object] = {
            "project_id": check_number(request.source_id, "--id"),
            "namespace_id": check_number(request.owner_id, "--owner-id"),
        }
        if request.ref:
            made["ref_path"] = whole_ref(request.ref)
        if request.environment:
            made["environment"] = check_environment(request.environment)
        if request.workflow:
            if not (_FILE.fullmatch(request.workflow) or _WHOLE.fullmatch(request.workflow)):
                raise InvalidInput(
                    f"no configuration: {request.workflow[:120]!r}",
                    fix="write .gitlab-ci.yml, or gitlab.example/group/project//ci.yml@refs/heads/main",
                )
            made["ci_config_ref_uri"] = request.workflow
        return made

    def misfit(self, conditions: Conditions, claims: Claims, *, issuer: str) -> str | None:
        """Compare the ids first, and the rest only for who has them."""
        if any(not is_text(claims.get(key), conditions[key]) for key in ("project_id", "namespace_id")):
            return ""
        return (
            ref_misfit(conditions.get("ref_path"), claims.get("ref_path"))
            or environment_misfit(conditions.get("environment"), claims.get("environment"))
            or _config_misfit(conditions.get("ci_config_ref_uri"), claims, issuer)
        )

    def workflow(self, claims: Claims) -> dict[str, object]:
        """Name the pipeline as people see it on its page."""
        source, ref = str(claims.get("project_path", "")), str(claims.get("ref_path", ""))
        own = str(claims.get("ci_config_ref_uri") or "")
        return {
            "source": source,
            "source_id": claims.get("project_id"),
            "workflow": own.partition(f"{source}//")[2].removesuffix(f"@{ref}") or own,
            "ref": ref.removeprefix("refs/heads/"),
            "run": claims.get("pipeline_id"),
            "environment": claims.get("environment"),
            "commit": claims.get("sha"),
            "started_by": claims.get("user_login"),
        }

    def sentence(self, conditions: Conditions, *, note: str) -> str:
        """Say whose pipelines are accepted."""
        words = [f"GitLab project {conditions['project_id']} of namespace {conditions['namespace_id']}"]
        words += [f"({note} when the trust was made)"] if note else []
        words += [f"by {conditions['ci_config_ref_uri']}"] if "ci_config_ref_uri" in conditions else []
        words += [f"on {conditions['ref_path']}" if "ref_path" in conditions else "on any branch or tag"]
        words += [f"in environment {conditions['environment']}"] if "environment" in conditions else []
        return " ".join(words)


def _config_misfit(wanted: object, claims: Claims, issuer: str) -> str | None:
    if wanted is None:
        return None
    name, own = str(wanted), claims.get("ci_config_ref_uri")
    if "@" not in name:
        name = f"{split_url(issuer).netloc}/{claims.get('project_path')}//{wanted}@{claims.get('ref_path')}"
    return None if is_text(own, name) else f"the trust is for {wanted}, and this is {str(own)[:200]}"


GITLAB = _GitLab()
