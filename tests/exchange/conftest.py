"""A registry with a team, an issuer beside it, and what a pipeline and an owner ask of the two."""

from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient

from deltareg.api.app import create_app
from deltareg.service.access import making, members, namespaces, tokens
from deltareg.service.access.exchange import trusts
from deltareg.service.issuers import Issuers
from deltareg.service.registry import Registry
from deltareg.store.memory import MemoryStore
from deltareg.wire import API, MemberAdd, NamespaceCreate, TokenCreate, TrustAdd
from tests.exchange.issuer import Issuer

AUDIENCE = "https://registry.example"
FORM = "application/x-www-form-urlencoded"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


@pytest.fixture
def issuer():
    """Give an issuer that listens."""
    found = Issuer()
    yield found
    found.close()


class Team:
    """The namespace `team` of `olga`, in a registry that asks one issuer."""

    def __init__(self, engine, issuer):
        self.issuer, self.now = issuer, 0.0
        issuers = Issuers((issuer.url,), clock=lambda: self.now)
        self.registry = Registry(engine, MemoryStore(), issuers=issuers)
        self.root = self.of(tokens.bootstrap_token(self.registry, principal="root", kind="pat", scopes=["admin"]))
        self.olga = self.person("olga")
        namespaces.create_namespace(self.registry, self.olga, NamespaceCreate(name="team", visibility="private"))
        self.olga = self.of(self.secret("olga"))
        self.app = create_app(self.registry)
        self.http = TestClient(self.app, "http://localhost", raise_server_exceptions=False)

    def of(self, secret):
        """Find whose a token is, as each request does."""
        return tokens.authenticate(self.registry, secret, request_id="r")

    def secret(self, name, *scopes, **more):
        """Make a token of somebody."""
        wanted = {"scopes": [*scopes] or ["read", "push", "promote", "serve", "admin"], "everywhere": False} | more
        return making.create_token(
            self.registry, self.root, TokenCreate.model_validate({"principal": name} | wanted)
        ).token

    def person(self, name):
        """Make somebody, with a token for nearly everything."""
        return self.of(self.secret(name))

    def member(self, name, role, namespace="team"):
        """Give somebody a role."""
        request = MemberAdd(principal=name, role=role, namespace=namespace)
        return members.add_member(self.registry, self.root, request)

    def trust(self, by=None, **wanted):
        """Make a trust in octo-org/octo-repo."""
        provider = wanted.get("provider", "github")
        ids = {"github": ("74", "65"), "gitlab": ("20", "72"), "oidc": ("", "")}[provider]
        asked = {
            "provider": provider,
            "issuer": self.issuer.url,
            "audience": AUDIENCE,
            "namespace": "team",
            "scopes": ["push"],
            "source_id": ids[0],
            "owner_id": ids[1],
        } | wanted
        return trusts.add_trust(self.registry, by or self.olga, TrustAdd(**asked))

    def exchange(self, assertion, **more):
        """Ask for a token as RFC 8693 says."""
        fields = {"grant_type": GRANT, "subject_token_type": ID_TOKEN, "subject_token": assertion} | more
        body = urlencode({key: value for key, value in fields.items() if value is not None})
        return self.http.post(f"{API}/tokens:exchange", content=body, headers={"Content-Type": FORM})


@pytest.fixture
def team(engine, issuer):
    """Give the team on each of both databases; its requests share a loop, as those of a server do."""
    made = Team(engine, issuer)
    with made.http:
        yield made


@pytest.fixture
def small_team(sqlite_engine, issuer):
    """Give the team on SQLite alone, where the database decides nothing."""
    return Team(sqlite_engine, issuer)
