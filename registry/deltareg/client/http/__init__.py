"""Speaking HTTP to a registry: requests, what comes back, and when something is sent again."""

from deltareg.client.http.api import Api

__all__ = ["Api"]
