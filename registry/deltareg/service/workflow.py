"""How the workflow behind an exchanged token is named to people: one line, whatever its claims hold."""

from collections.abc import Mapping

LONGEST = 300
"""How many characters of one claim are kept and shown."""


def describe_workflow(claims: Mapping[str, object] | None) -> str:
    """Name a workflow: `github team/models .github/workflows/train.yml@refs/heads/main run 123`.

    Args:
        claims: What `deltareg.service.access.exchange` keeps with a token; None, or nothing in it, for
            a token that somebody made.
    """
    if not claims:
        return ""
    workflow, ref = (str(claims.get(key) or "") for key in ("workflow", "ref"))
    at = f"{workflow}@{ref}" if workflow and ref and "@" not in workflow else workflow or ref
    run = f"run {claims['run']}" if claims.get("run") else ""
    words = [str(claims.get("provider") or ""), str(claims.get("source") or ""), at, run]
    return " ".join(word for word in words if word)
