"""Ways in which an assertion is nearly the one that a trust accepts: each has to be refused.

A mutation is a function from an `Issuer` to an assertion. `GITHUB` are against a trust in repository 74
of owner 65, branch main, workflow train.yml, environment prod; `GITLAB` against project 20 of namespace 72.
"""

import base64
import json
import time

from tests.exchange.issuer import b64, documented, ec_key, jwk, pem_of, rsa_key, sign_es256, sign_hs256, sign_rs256

DAY = 86_400


def claims(**changed):
    """Sign the documented claims with some of them changed."""
    return lambda issuer: issuer.sign(documented("github", **changed))


def times(**offsets):
    """Sign them with times that are so many seconds from now."""
    return lambda issuer: issuer.sign(
        documented("github", **{name: int(time.time()) + offset for name, offset in offsets.items()})
    )


def of_gitlab(**changed):
    """Sign the documented claims of GitLab, from its own host, with some of them changed."""

    def mutate(issuer):
        host = issuer.url.removeprefix("http://")
        config = f"{host}/my-group/my-project//.gitlab-ci.yml@refs/heads/main"
        return issuer.sign(documented("gitlab", **{"ci_config_ref_uri": config, **changed}))

    return mutate


def header(**changed):
    """Sign them under another header."""
    return lambda issuer: issuer.sign(documented("github"), header=changed)


def signed(sign, key=None, **head):
    """Sign them in another way."""
    return lambda issuer: issuer.sign(documented("github"), header=head, key=key or rsa_key(), sign=sign)


def payload(write):
    """Sign a text that `write` makes of the claims."""

    def mutate(issuer):
        text = json.dumps({"iss": issuer.url, **documented("github")})
        return issuer.sign({}, payload=write(text))

    return mutate


def text(change):
    """Change the finished text."""
    return lambda issuer: change(issuer.sign(documented("github")))


def _swap(part, new):
    def change(assertion):
        parts = assertion.split(".")
        parts[part] = new(parts[part])
        return ".".join(parts)

    return text(change)


def _object(segment):
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


def _without_signature(segment):
    return b64(json.dumps(_object(segment) | {"alg": "none"}).encode())


def _unused_bits(segment):
    """Spell the last character otherwise, where its unused bits do not count."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + letters[letters.index(segment[-1]) ^ 1]


GITHUB = {
    # who signed, and how
    "alg none, no signature": text(lambda a: f"{_without_signature(a.split('.')[0])}.{a.split('.')[1]}."),
    "alg none, with the signature": _swap(0, _without_signature),
    "alg None in capitals": signed(lambda *_: b"x", alg="NONE"),
    "HS256 with the public key as the secret": signed(lambda _, data: sign_hs256(pem_of(rsa_key()), data), alg="HS256"),
    "HS256 with the key's modulus": signed(
        lambda _, data: sign_hs256(jwk(rsa_key(), "one")["n"].encode(), data), alg="HS256"
    ),
    "another key of the same id": signed(sign_rs256, rsa_key(7)),
    "RS384 said, RS256 signed": header(alg="RS384"),
    "ES256 said of a key of RSA": header(alg="ES256"),
    "ES256 by a curve of one's own": signed(sign_es256, ec_key(7), alg="ES256", kid="curve"),
    "RS256 said of a curve": header(kid="curve"),
    "an algorithm as a list": header(alg=["RS256"]),
    "no algorithm": header(alg=None),
    "no key id": header(kid=None),
    "a key id that is a path": header(kid="../../dev/null"),
    "a key id that is an address": header(kid="http://127.0.0.1/keys#one"),
    "a key id with a query": header(kid="one' OR '1'='1"),
    "a key id in capitals": header(kid="ONE"),
    "a key id as a number": header(kid=1),
    "an empty key id": header(kid=""),
    "a key set elsewhere (jku)": header(jku="https://evil.example/keys"),
    "a certificate elsewhere (x5u)": header(x5u="https://evil.example/cert"),
    "a key of its own (jwk)": signed(sign_rs256, rsa_key(7), jwk=jwk(rsa_key(7), "one")),
    "a certificate of its own (x5c)": header(x5c=["MIIB"]),
    "a critical header": header(crit=["exp"]),
    "an unencoded payload (b64)": header(b64=False, crit=["b64"]),
    "an access token by its type": header(typ="at+jwt"),
    "a logout token by its type": header(typ="logout+jwt"),
    "a changed payload": _swap(1, lambda p: b64(json.dumps(_object(p) | {"environment": "prod2"}).encode())),
    "a payload with unused bits": _swap(1, lambda p: p[:-1] + _unused_bits(p)[-1]),
    "a signature cut short": _swap(2, lambda s: s[:-8]),
    "an empty signature": _swap(2, lambda _: ""),
    "four parts": text(lambda a: f"{a}.x"),
    "a space after it": text(lambda a: f"{a} "),
    "JSON serialisation": text(
        lambda a: json.dumps(dict(zip(("protected", "payload", "signature"), a.split("."), strict=True)))
    ),
    # for whom, from whom, when
    "another audience": claims(aud="https://other.example"),
    "an audience with a slash": claims(aud="https://registry.example/"),
    "an audience in capitals": claims(aud="HTTPS://REGISTRY.EXAMPLE"),
    "a list of audiences": claims(aud=["https://registry.example", "https://other.example"]),
    "a list of this audience": claims(aud=["https://registry.example"]),
    "no audience": claims(aud=None),
    "an issuer with a slash": lambda i: i.sign(documented("github", iss=f"{i.url}/")),
    "an issuer with a dot": lambda i: i.sign(documented("github", iss=i.url.replace("127.0.0.1", "127.0.0.1."))),
    "an issuer by another name": lambda i: i.sign(documented("github", iss=i.url.replace("127.0.0.1", "localhost"))),
    "no issuer": payload(lambda t: json.dumps({k: v for k, v in json.loads(t).items() if k != "iss"})),
    "expired": times(iat=-900, nbf=-905, exp=-600),
    "expired a day ago, of a job of a day": times(iat=-2 * DAY, nbf=-2 * DAY, exp=-DAY),
    "old, though not at its end": times(iat=-7200, nbf=-7200, exp=3600),
    "not begun": times(nbf=600, exp=900),
    "made in the future": times(iat=600, nbf=0, exp=900),
    "valid for ten years": times(exp=3650 * DAY),
    "valid beyond all numbers": claims(exp=1 << 70),
    "an end before its beginning": times(exp=-10, iat=0),
    "no end": claims(exp=None),
    "no beginning": claims(iat=None),
    "an end as text": lambda i: i.sign(documented("github", exp=str(int(time.time()) + 300))),
    "an end as a fraction": lambda i: i.sign(documented("github", exp=time.time() + 300.5)),
    "an end that is true": claims(exp=True),
    "an id of its own that is none": claims(jti=7),
    "an empty id of its own": claims(jti=""),
    # whose
    "another repository": claims(repository_id="75"),
    "another owner": claims(repository_owner_id="66"),
    "a repository that took the name": claims(repository_id="9001"),
    "an owner that took the name": claims(repository_id="9001", repository_owner_id="9002"),
    "a repository by number": claims(repository_id=74),
    "an owner by number": claims(repository_owner_id=65),
    "a repository with a nought": claims(repository_id="074"),
    "a repository with a space": claims(repository_id=" 74"),
    "a repository in other digits": claims(repository_id="７４"),  # noqa: RUF001  # fullwidth on purpose
    "a list of repositories": claims(repository_id=["74"]),
    "no repository's id": claims(repository_id=None),
    "no owner's id": claims(repository_owner_id=None),
    "only the text of sub": claims(
        repository_id=None, repository_owner_id=None, sub="repo:octo-org/octo-repo:environment:prod"
    ),
    # what runs
    "a pull request": claims(event_name="pull_request", ref="refs/pull/5/merge"),
    "a pull request of strangers": claims(event_name="pull_request_target"),
    "another branch": claims(ref="refs/heads/evil"),
    "a branch that begins alike": claims(ref="refs/heads/main2"),
    "a branch in another alphabet": claims(ref="refs/heads/mаin"),  # noqa: RUF001  # Cyrillic on purpose
    "a tag of the branch's name": claims(ref="refs/tags/main"),
    "a branch by its short name": claims(ref="main"),
    "no branch": claims(ref=None),
    "another environment": claims(environment="dev"),
    "an environment in capitals": claims(environment="Prod"),
    "no environment": claims(environment=None),
    "an empty environment": claims(environment=""),
    "another workflow": claims(job_workflow_ref="octo-org/octo-repo/.github/workflows/evil.yml@refs/heads/main"),
    "the workflow of another branch": claims(
        job_workflow_ref="octo-org/octo-repo/.github/workflows/train.yml@refs/heads/evil"
    ),
    "the workflow of another repository": claims(
        job_workflow_ref="evil/evil/.github/workflows/train.yml@refs/heads/main"
    ),
    "no workflow": claims(job_workflow_ref=None),
    # how it is written
    "the environment twice": payload(lambda t: t[:-1] + ', "environment": "dev"}'),
    "the repository twice, hidden by an escape": payload(lambda t: '{"repository_\\u0069d": "1", ' + t[1:]),
    "NaN": payload(lambda t: t[:-1] + ', "x": NaN}'),
    "half a character": payload(lambda t: t[:-1] + ', "x": "\\ud800"}'),
    "deep": payload(lambda t: t[:-1] + ', "x": ' + "[" * 900 + "]" * 900 + "}"),
    "a list in place of claims": payload(lambda t: f"[{t}]"),
    "two objects": payload(lambda t: t + t),
    "long": payload(lambda t: t[:-1] + f', "x": "{"x" * 20_000}"' + "}"),
}

GITLAB = {
    "another project": of_gitlab(project_id="21"),
    "another namespace": of_gitlab(namespace_id="73"),
    "a project by number": of_gitlab(project_id=20),
    "a project that took the path": of_gitlab(project_id="9001", namespace_id="9002"),
    "a merge request of a fork": of_gitlab(ref_path="refs/merge-requests/5/head", project_id="20"),
    "no ref in full": of_gitlab(ref_path=None),
    "another environment": of_gitlab(environment="prod"),
    "no environment": of_gitlab(environment=None),
    "a configuration of another host": of_gitlab(
        ci_config_ref_uri="127.0.0.1/my-group/my-project//.gitlab-ci.yml@refs/heads/main"
    ),
    "only the text of sub": of_gitlab(project_id=None, namespace_id=None),
}
