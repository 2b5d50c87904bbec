"""Policies as people write them, in files."""

from deltareg.documents.yaml_document import key_lines, read_yaml
from deltareg.gate.floors import parse_floor
from deltareg.gate.policy import parse_policy, policy_fields


def read_policy_file(raw: bytes) -> dict[str, object]:
    """Read a policy from YAML or JSON and return it in its canonical form.

    Raises:
        InvalidInput: It is malformed; the message names the line.
    """
    fields = read_yaml(raw, what="policy")
    return policy_fields(parse_policy(fields, lines=key_lines(raw)))


def read_floor_file(raw: bytes, *, of: str) -> dict[str, object]:
    """Read a floor of the server or a namespace as `read_policy_file` reads a policy.

    Raises:
        InvalidInput: It is malformed; the message names the line.
    """
    return parse_floor(read_yaml(raw, what="policy"), of=of, lines=key_lines(raw)).fields()
