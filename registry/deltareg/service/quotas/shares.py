"""How much of their limits namespaces use, for metrics."""

from deltareg.db.quotas.limits import EACH_NAMESPACE, limit_rows
from deltareg.db.quotas.usage import usage_rows
from deltareg.db.session import read
from deltareg.service.quotas.accounts import account_of_scope, add_up
from deltareg.service.registry import Registry
from deltareg.words import QuotaResource

_MOST = 200


def quota_shares(registry: Registry) -> dict[tuple[str, QuotaResource], float]:
    """Return the used share of each limit of a namespace, by name and resource; of the fullest, if many."""
    with read(registry.engine) as conn:
        rows = limit_rows(conn)
        used = usage_rows(conn) if rows else {}
    shares: dict[tuple[str, QuotaResource], float] = {}
    for holder, row in used.items():
        if holder.startswith(EACH_NAMESPACE):
            account, sums = account_of_scope(holder, rows), add_up([row])
            for resource, most in account.limits.items():
                shares[account.name, resource] = sums[resource] / most if most else 1.0
    fullest = sorted(shares.items(), key=lambda item: -item[1])[:_MOST]
    return dict(fullest)
