"""Tables of the matrix: what each route is asked with, and what it takes where a namespace is named.

`reach_matrix.json` says of each route on what it is asked: `named` in the request, found by a
`number`, a `list`, what all `share`, `everything`, one's `own`, what is `free` to who comes first,
or `nobody` has to say who asks; for an `assertion` it is what is brought that says so.
"""

import json
from pathlib import Path

from deltareg.identity.manifest import Manifest
from deltareg.service.authority.grants import Right
from deltareg.signing.keys import SigningKey
from tests.api.test_authz import BODIES
from tests.api.world import ROOT

REACH = json.loads(Path(__file__).with_name("reach_matrix.json").read_text())
ZEROS = f"sha256:{'0' * 64}"
HERE = {
    "ns": "lab",
    "name": "x",
    "version": "1",
    "channel": "prod",
    "base": "tiny",
    "digest": ZEROS,
    "upload_id": "u",
    "run_id": "r2",
    "verdict_id": "v2",
    "token_id": "2",
    "number": "1",
    "session_id": "2",
    "identity_id": "1",
    "suite": "smoke",
    "check": "effect",
    "request_id": "1",
    "member_id": "1",
    "principal": "nobody-here",
    "agent": "host",
    "keyid": "k",
    "webhook_id": "wh_1",
    "trust_id": "1",
    "operation": "collect",
    "check_id": "00000000-0000-4000-8000-000000000000",
}
NOWHERE = HERE | {
    "ns": "nowhere",
    "run_id": "r9",
    "verdict_id": "v9",
    "request_id": "9",
    "member_id": "9",
    "upload_id": "n",
    "webhook_id": "wh_9",
    "trust_id": "9",
}
NUMBERS = {"run_id": "r9", "verdict_id": "v9", "request_id": "9", "member_id": "9"}
NUMBERS |= {"webhook_id": "wh_9", "trust_id": "9"}
KEY = str(SigningKey.generate().public)
QUERIES = {
    "GET /api/v1/bundle": {"ref": "lab/x:v1"},
    "GET /api/v1/queue/demand": {"pool": "cpu"},
    "GET /api/v1/resolve": {"ref": "lab/x:v1"},
    "GET /api/v1/deltas/{ns}/{name}/versions/{version}/fit": {"base": "tiny"},
    "GET /api/v1/bases/{base}/diff": {"other": "tiny"},
    "GET /api/v1/comparisons": {"a": "lab/x:v1", "b": "lab/x:v2"},
    "GET /api/v1/audit": {"namespace": "lab"},
    "GET /api/v1/audit/consistency": {"old": "0", "new": "0"},
    "GET /api/v1/audit/excerpt": {"namespace": "lab"},
    "GET /api/v1/blobs/{digest}": {"of": "lab/x:v1"},
    "GET /api/v1/deltas/{ns}/{name}/versions/{version}/gate": {"channel": "prod"},
    "DELETE /api/v1/deltas/{ns}/{name}/channels/{channel}/quarantine/{version}": {"reason": "x"},
    "GET /api/v1/access/explain": {"principal": "bob", "action": "read", "ref": "lab/x"},
    "GET /api/v1/access/holders": {"namespace": "lab"},
    "GET /api/v1/access/review": {"namespace": "lab"},
    "GET /api/v1/members": {"namespace": "lab"},
    "GET /api/v1/stats/storage": {"namespace": "lab"},
    "GET /api/v1/events/stream": {"after": "0", "seconds": "0"},
    "GET /api/v1/webhooks": {"namespace": "lab"},
    "GET /api/v1/trusts": {"namespace": "lab"},
    "GET /api/v1/roles": {"namespace": "lab"},
    "DELETE /api/v1/roles/{name}": {"namespace": "lab"},
}
BODY = BODIES | {
    "POST /api/v1/uploads": {
        "subject": "delta",
        "target": "lab/x",
        "manifest": Manifest("lora", "", True, ROOT, {}, (), ()).encode().decode(),
    },
    "PATCH /api/v1/namespaces/{ns}": {"visibility": "private"},
    "POST /api/v1/namespaces/{ns}:rename": {"to": "lab"},
    "POST /api/v1/deltas/{ns}/{name}:rename": {"to": "lab/x"},
    "POST /api/v1/deltas/{ns}/{name}:deprecate": {"reason": "x"},
    "POST /api/v1/deltas/{ns}/{name}/versions/{version}:deprecate": {"reason": "x"},
    "POST /api/v1/deltas/{ns}/{name}/channels/{channel}:rename": {"to": "prod"},
    "POST /api/v1/runs/{run_id}:upload": {"run": "r2", "fence": 1},
    "POST /api/v1/runs": {"ref": "lab/x:v1"},
    "POST /api/v1/comparisons": {"a": "lab/x:v1", "b": "lab/x:v2"},
    "POST /api/v1/answers": {"prompt": "hi", "refs": ["lab/x:v1"]},
    "POST /api/v1/namespaces": {"name": "lab"},
    "POST /api/v1/webhooks": {"url": "http://127.0.0.1:9/", "namespace": "lab"},
    "POST /api/v1/trusts": BODIES["POST /api/v1/trusts"] | {"namespace": "lab"},
    "POST /api/v1/members": {"principal": "bob", "role": "reader", "namespace": "lab"},
    "POST /api/v1/roles": {"name": "releaser", "namespace": "lab", "rights": ["promote"]},
    "PUT /api/v1/fleet/agents/{agent}": {
        "engine": "dir",
        "every_s": 10,
        "serves": [{"channel": "lab/x@prod", "state": "ok"}],
    },
}
RIGHTS_HERE = {
    "GET /api/v1/audit": {Right.ADMIN},
    "GET /api/v1/audit/excerpt": {Right.ADMIN},
    "GET /api/v1/audit/rows/{number}/proof": {Right.ADMIN},
    "GET /api/v1/access/explain": {Right.MAINTAIN},
    "GET /api/v1/access/holders": {Right.MAINTAIN},
    "GET /api/v1/access/review": {Right.MAINTAIN},
    "GET /api/v1/members": {Right.READ},
    "POST /api/v1/members": {Right.MAINTAIN},
    "POST /api/v1/comparisons": {Right.PUSH, Right.VERIFY},  # which no role has without reading
    "POST /api/v1/answers": {Right.PUSH, Right.VERIFY},
    "POST /api/v1/runs/{run_id}:rerun": {Right.PUSH, Right.VERIFY},
    "POST /api/v1/runs/{run_id}:cancel": {Right.VERIFY, Right.MAINTAIN},  # or who asked, which none of them did
    "DELETE /api/v1/members/{member_id}": {Right.MAINTAIN},
    **{route: {Right.ADMIN} for route in REACH if "{webhook_id}" in route or "/trusts" in route},
}
"""What is asked where a namespace is named, or found, if that is not what is asked everywhere."""
TAKEN_ONCE = {
    "DELETE /api/v1/deltas/{ns}/{name}/name",
    "DELETE /api/v1/members/{member_id}",
    "DELETE /api/v1/trusts/{trust_id}",
    *(route for route in REACH if "{webhook_id}" in route and not route.startswith("GET")),
}
"""What the first who may do it leaves nothing of for the next, or what is taken of a line that was deleted."""
OF_WHO_ASKED = {"POST /api/v1/runs/{run_id}:cancel", "POST /api/v1/requests/{request_id}:withdraw"}
"""What is for whoever asked for it, and for those who answer for the line."""
OF_NAMESPACE = {
    "GET /api/v1/namespaces",
    "GET /api/v1/namespaces/{ns}",
    "GET /api/v1/members",
    "GET /api/v1/roles",
    "GET /api/v1/namespaces/{ns}/policy",
    "GET /api/v1/namespaces/{ns}/quota",
    "GET /api/v1/quotas",
}
"""What who has a role on some of its lines sees of a namespace."""
OF_WHOLE_NAMESPACE = {"GET /api/v1/stats/storage"}
"""What who has a role on some of its lines does not read of it."""
# Names of people and machines, and what is worked on, are not public with the deltas.
NEVER_ANONYMOUS = {
    "GET /api/v1/namespaces/{ns}/quota",
    "GET /api/v1/quotas",
    "GET /api/v1/namespaces/{ns}",
    "GET /api/v1/namespaces/{ns}/policy",
    "GET /api/v1/members",
    "GET /api/v1/roles",
    "GET /api/v1/namespaces",
    "GET /api/v1/runs",
    "GET /api/v1/runs/{run_id}",
    "GET /api/v1/runs/{run_id}/log",
    "GET /api/v1/comparisons",
    "GET /api/v1/queue",
    "GET /api/v1/fleet/agents",
    "GET /api/v1/requests",
    "GET /api/v1/requests/{request_id}",
    "GET /api/v1/events",
    "GET /api/v1/events/stream",
    # It is asked of a base that all share, who are somebody here.
    "GET /api/v1/deltas/{ns}/{name}/versions/{version}/fit",
}
