"""Who issues assertions, a file each: which claims a trust is about, and how a workflow is named."""

from collections.abc import Mapping
from typing import Final

from deltareg.service.access.exchange.providers.github import GITHUB
from deltareg.service.access.exchange.providers.gitlab import GITLAB
from deltareg.service.access.exchange.providers.oidc import OIDC
from deltareg.service.access.exchange.providers.provider import AssertionProvider
from deltareg.words import TrustProvider

PROVIDERS: Final[Mapping[TrustProvider, AssertionProvider]] = {"github": GITHUB, "gitlab": GITLAB, "oidc": OIDC}
