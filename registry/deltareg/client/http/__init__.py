"""HTTP to a registry: requests, answers, and retries."""

from deltareg.client.http.api import Api

__all__ = ["Api"]
