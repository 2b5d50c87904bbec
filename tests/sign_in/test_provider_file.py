"""The file of providers: what it may say, and what is told of what it may not."""

import pytest
from click.testing import CliRunner

from deltareg.api.opening import open_registry, read_settings
from deltareg.api.serve import server
from deltareg.errors import Misconfigured
from deltareg.oidc.claims import groups_here, read_claims
from deltareg.oidc.provider_file import read_providers

WHOLE = """
[acme]
issuer = "https://id.acme.example/realms/main"
client_id = "deltareg"
client_secret_file = "secret"
admit = ["ml", "@acme.example"]
label = "Acme"
scopes = ["openid", "groups"]
name_claim = "email"
groups_claim = "roles"

[acme.groups]
ml-engineers = "engineers"
"/teams/vision" = "vision"
"deltareg-*" = "*"
"site-*" = "at-*"

[dex]
issuer = "https://dex.acme.example"
client_id = "deltareg"
admit = ["*"]
"""
LEAST = '[acme]\nissuer = "https://id.example"\nclient_id = "d"\nadmit = ["*"]\n'


@pytest.fixture
def write(tmp_path):
    def write(text, *, mode=0o600):
        secret = tmp_path / "secret"
        secret.write_text("s3cret\n")
        secret.chmod(mode)
        path = tmp_path / "providers.toml"
        path.write_text(text)
        return path

    return write


def test_a_whole_file_is_read(write):
    acme, dex = read_providers(write(WHOLE))

    assert (acme.name, acme.label, acme.client_secret, acme.scopes) == ("acme", "Acme", "s3cret", ("openid", "groups"))
    assert "s3cret" not in repr(acme)
    assert (dex.label, dex.client_secret, dex.scopes, dex.groups) == ("Dex", None, None, {})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (["ml-engineers"], {"engineers"}),
        (["/teams/vision", "x"], {"vision"}),
        (["deltareg-a", "deltareg-b"], {"a", "b"}),
        (["site-oslo"], {"at-oslo"}),
        (["deltareg-", "deltareg-Ops", "deltareg-../x", "deltareg-a b"], set()),
        (["ml-engineers2", "ML-ENGINEERS", "*", ""], set()),
    ],
)
def test_groups_are_mapped_as_the_file_says(write, theirs, ours):
    acme = read_providers(write(WHOLE))[0]

    claims = read_claims(acme, {"sub": "s", "roles": theirs})

    assert groups_here(acme, claims) == ours


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "Anna.Meyer"}, "anna.meyer"),
        ({"preferred_username": "anna@acme.example"}, "anna"),
        ({"preferred_username": "ACME\\anna meyer"}, "acme-anna-meyer"),
        ({"preferred_username": "../../etc"}, "etc"),
        ({"preferred_username": "a..b"}, "a.b"),
        ({"preferred_username": "Ærøskøbing"}, "r-sk-bing"),
        ({"preferred_username": "日本", "email": "yuki@x.example"}, "yuki"),
        ({"preferred_username": 7}, "subject-1"),
        ({"preferred_username": "x" * 200}, "x" * 48),
        ({}, "subject-1"),
    ],
)
def test_a_name_is_made_of_what_somebody_is_called(write, claims, name):
    dex = read_providers(write(WHOLE))[1]

    assert read_claims(dex, {"sub": "Subject|1", **claims}).name == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no provider"),
        ("[acme", "is not TOML"),
        ("acme = 1\n", "takes keys and values"),
        ('[acme]\nclient_id = "d"\nadmit = ["*"]\n', "has no issuer"),
        ('[acme]\nissuer = "https://x.example"\nclient_id = "d"\n', "has no admit"),
        (LEAST.replace('["*"]', "[]"), "is empty"),
        (LEAST.replace('["*"]', '"*"'), "takes a list"),
        (LEAST.replace("https", "http"), "not an https address"),
        (LEAST.replace("id.example", "id.example?x=1"), "is not an issuer"),
        (LEAST.replace("[acme]", '["a/b"]'), "no name of a provider"),
        (LEAST + 'secret = "x"\n', "there is no such key"),
        (LEAST + 'client_secret_file = "none"\n', "cannot read"),
        (LEAST + '[acme.groups]\nml = "No Group"\n', "not a group"),
        (LEAST + LEAST.replace("[acme]", "[other]"), "are one provider"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(write, text, said):
    with pytest.raises(Misconfigured, match=said) as caught:
        read_providers(write(text))

    assert "providers.toml" in caught.value.message
    assert caught.value.fix


def test_a_secret_that_others_can_read_is_refused(write):
    with pytest.raises(Misconfigured, match="others can read"):
        read_providers(write(WHOLE, mode=0o644))


def test_sign_ins_need_a_key_that_all_servers_share(write, monkeypatch):
    monkeypatch.setenv("DELTAREG_OIDC", str(write(LEAST)))
    monkeypatch.setenv("DELTAREG_DATABASE_URL", "postgresql://nowhere/none")
    monkeypatch.setattr("deltareg.api.opening.check_schema", lambda _: None)

    with pytest.raises(Misconfigured, match="DELTAREG_WEBHOOK_KEY"):
        open_registry(read_settings())


def test_the_check_of_a_server_asks_the_provider(openid, write, sqlite_url, monkeypatch):
    text = LEAST.replace("https://id.example", openid.issuer).replace('"d"', '"deltareg"')
    path = write(text + 'client_secret_file = "secret"\n')
    (path.parent / "secret").write_text("a-secret-of-the-tests")
    monkeypatch.setenv("DELTAREG_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("DELTAREG_STORE_URL", (path.parent / "blobs").as_uri())
    monkeypatch.setenv("DELTAREG_OIDC", str(path))

    def check():
        return CliRunner().invoke(server, ["check"])

    good = check()
    (path.parent / "secret").write_text("another")
    strange = check()
    path.write_text(text.replace("127.0.0.1", "localhost"))
    elsewhere = check()

    told = [line.split() for line in good.output.splitlines()]
    assert (good.exit_code, ["sign-in", "ok", "acme:", openid.issuer] in told) == (0, True), good.output
    assert (strange.exit_code, "does not know this registry" in strange.output) == (2, True), strange.output
    assert "calls itself" in elsewhere.output
