"""Assertions of GitHub Actions.

Claims: https://docs.github.com/actions/reference/security/oidc. A repository and its owner are known
by their numbers: a name is free again once it was given up, and `sub` is made of names.
"""

import re

from deltareg.errors import InvalidInput
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

_FILE = re.compile(r"[A-Za-z0-9._-]+\.ya?ml")
_WHOLE = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/\.github/workflows/[A-Za-z0-9._-]+\.ya?ml@[^\s*]+")
_FOLDER = ".github/workflows/"
_OF_STRANGERS = "pull_request_target"
"""Anybody's pull request starts such a workflow, as if it were a push to the branch."""


class _GitHub:
    """GitHub, or a GitHub Enterprise Server."""

    def conditions(self, request: TrustAdd) -> dict[str, object]:
        """Bind a trust to a repository and its owner; a plain file name is a workflow of that repository."""
        refuse_claims(request)
        made: dict[str, object] = {
            "repository_id": check_number(request.source_id, "--id"),
            "repository_owner_id": check_number(request.owner_id, "--owner-id"),
        }
        if request.ref:
            made["ref"] = whole_ref(request.ref)
        if request.environment:
            made["environment"] = check_environment(request.environment)
        if request.workflow:
            if not (_FILE.fullmatch(request.workflow) or _WHOLE.fullmatch(request.workflow)):
                raise InvalidInput(
                    f"no workflow: {request.workflow[:120]!r}",
                    fix="write train.yml, or ORG/REPO/.github/workflows/train.yml@refs/heads/main",
                )
            made["job_workflow_ref"] = request.workflow
        return made

    def misfit(self, conditions: Conditions, claims: Claims, *, issuer: str) -> str | None:
        """Compare the ids first, and the rest only for who has them."""
        del issuer  # whoever runs it: the numbers are its own
        if any(not is_text(claims.get(key), conditions[key]) for key in ("repository_id", "repository_owner_id")):
            return ""
        if claims.get("event_name") == _OF_STRANGERS:
            return f"{_OF_STRANGERS} runs for whoever opens a pull request"
        return (
            ref_misfit(conditions.get("ref"), claims.get("ref"))
            or environment_misfit(conditions.get("environment"), claims.get("environment"))
            or _workflow_misfit(conditions.get("job_workflow_ref"), claims)
        )

    def workflow(self, claims: Claims) -> dict[str, object]:
        """Name the workflow as people see it on the page of the run."""
        source, ref = str(claims.get("repository", "")), str(claims.get("ref", ""))
        own = str(claims.get("job_workflow_ref") or claims.get("workflow_ref") or "")
        return {
            "source": source,
            "source_id": claims.get("repository_id"),
            "workflow": own.removeprefix(f"{source}/{_FOLDER}").removesuffix(f"@{ref}"),
            "ref": ref.removeprefix("refs/heads/"),
            "run": claims.get("run_id"),
            "environment": claims.get("environment"),
            "commit": claims.get("sha"),
            "started_by": claims.get("actor"),
        }

    def sentence(self, conditions: Conditions, *, note: str) -> str:
        """Say whose workflows are accepted."""
        words = [f"GitHub repository {conditions['repository_id']} of owner {conditions['repository_owner_id']}"]
        words += [f"({note} when the trust was made)"] if note else []
        words += [f"by {conditions['job_workflow_ref']}"] if "job_workflow_ref" in conditions else []
        words += [f"on {conditions['ref']}" if "ref" in conditions else "on any branch or tag"]
        words += [f"in environment {conditions['environment']}"] if "environment" in conditions else []
        return " ".join(words)


def _workflow_misfit(wanted: object, claims: Claims) -> str | None:
    if wanted is None:
        return None
    name, own = str(wanted), claims.get("job_workflow_ref")
    if "@" not in name:  # of this repository, whatever it is called, at the very commit that runs
        name = f"{claims.get('repository')}/{_FOLDER}{wanted}@{claims.get('ref')}"
    return None if is_text(own, name) else f"the trust is for the workflow {wanted}, and this is {str(own)[:200]}"


GITHUB = _GitHub()
