"""Who may do what, and for how long: tokens that end, that are revoked, and roles by person."""

import csv

import sqlalchemy as sa

from deltareg.db.session import write
from deltareg.db.sql.clock import now_us
from deltareg.db.tables import sessions, tokens
from tests.pages.conftest import browser, word_of

HOUR_US = 3_600_000_000


def token_of(desk, name):
    """Make a token and give it with its number."""
    token = desk.token("read", principal=name)
    return token, desk.http(token).get("/whoami").json()["token_id"]


def ends_in(desk, token_id, us):
    with write(desk.registry.engine) as conn:
        row = sa.update(tokens).where(tokens.c.id == token_id)
        conn.execute(row.values(expires_at=None if us is None else now_us() + us))


def test_a_token_is_revoked_from_its_list(desk, pages):
    token, number = token_of(desk, "lost")
    shown = pages.get("/ui/tokens").text
    done = pages.post(f"/ui/tokens/{number}/revoke", data={"word": word_of(pages)})
    after = pages.get("/ui/tokens").text

    assert f'action="/ui/tokens/{number}/revoke"' in shown
    assert (done.status_code, done.headers["Location"]) == (303, f"/ui/tokens#t{number}")
    assert f'action="/ui/tokens/{number}/revoke"' not in after
    assert desk.http(token).get("/whoami").status_code == 401
    missing = pages.post("/ui/tokens/99999/revoke", data={"word": word_of(pages)})
    assert (missing.status_code, "there is no token 99999" in missing.text) == (404, True)


def test_who_is_no_admin_revokes_nobody_elses(desk):
    other, number = token_of(desk, "other")
    with browser(desk, desk.token("read", principal="plain")) as client:
        refused = client.post(f"/ui/tokens/{number}/revoke", data={"word": word_of(client)})

    assert refused.status_code == 404
    assert desk.http(other).get("/whoami").status_code == 200


def test_who_may_do_what_is_shown_to_those_who_answer_for_it(desk, pages):
    group = {"name": "crew", "source": ""}
    assert desk.http(desk.admin_token).post("/groups", json=group).is_success
    assert desk.http(desk.admin_token).post("/groups/crew/members", json={"principal": "maker"}).is_success
    role = {"principal": "crew", "namespace": "team", "role": "approver", "pattern": "lora@prod"}
    assert desk.http(desk.admin_token).post("/members", json=role).is_success
    here = pages.get("/ui/access/who?namespace=team&right=approve")
    rows = list(csv.DictReader(pages.get("/ui/access/who?namespace=team&format=csv").text.splitlines()))
    mine = {(one["right"], one["only"], one["group"]) for one in rows if one["principal"] == "maker"}

    assert "approver by the group crew, given by admin" in here.text
    assert ("approve", "lora@prod", "crew") in mine
    with browser(desk, desk.token("read", principal="reader-8")) as reader:
        assert reader.get("/ui/access/who?namespace=team").status_code == 403
        assert "/ui/access/who" not in reader.get("/ui/access?namespace=team").text


def test_a_session_says_when_its_token_ends(desk):
    token, number = token_of(desk, "brief")
    with browser(desk, token) as client:
        ends_in(desk, number, HOUR_US // 2)
        soon = client.get("/ui/sessions")
        ends = client.get("/ui/sessions?format=json").json()
        ends_in(desk, number, 2 * HOUR_US)
        later = client.get("/ui/")
        ends_in(desk, number, None)
        never = client.get("/ui/sessions?format=json").json()

    assert 'class="small" title="Your session ends' in soon.text
    assert ends["sessions"]["items"][0]["expires_at"] == ends["who"]["expires_at"]
    assert 'title="Your session ends' not in later.text
    assert never["sessions"]["items"][0]["expires_at"] > ends["sessions"]["items"][0]["expires_at"]


def test_the_list_says_which_tokens_end_soon_or_have_ended(desk, pages):
    _, soon = token_of(desk, "soon")
    _, over = token_of(desk, "over")
    ends_in(desk, soon, HOUR_US // 2)
    ends_in(desk, over, -HOUR_US)
    rows = {
        part.partition('"')[0]: part.partition("</tr>")[0]
        for part in pages.get("/ui/tokens").text.split('<tr id="t')[1:]
    }

    assert "ends within the hour" in rows[str(soon)]
    assert "ended" in rows[str(over)]
    assert "/revoke" not in rows[str(over)]


def test_looking_at_pages_is_a_use_of_the_token(desk):
    token, number = token_of(desk, "looker")
    with browser(desk, token) as client:
        with write(desk.registry.engine) as conn:
            conn.execute(sa.update(tokens).where(tokens.c.id == number).values(last_used_at=1_000_000))
            conn.execute(
                sa.update(sessions).where(sessions.c.token_id == number).values(used_at=now_us() - 2 * 60_000_000)
            )
        client.get("/ui/")
    with desk.registry.engine.connect() as conn:
        used = conn.execute(sa.select(tokens.c.last_used_at).where(tokens.c.id == number)).scalar()

    assert used is not None
    assert used > 1_000_000


def test_access_names_everybody_once_with_all_their_roles(desk, pages):
    role = {"principal": "maker", "namespace": "team", "role": "promoter", "pattern": "lora@prod"}
    given = desk.http(desk.admin_token).post("/members", json=role)
    here = pages.get("/ui/access?namespace=team").text

    assert given.status_code in {200, 201}, given.text
    assert here.count('<th scope="row">maker ') == 1
    assert "only on <code>lora@prod</code>" in here
    assert '<th scope="row">admin ' in pages.get("/ui/access").text
    with browser(desk, desk.token("read", principal="reader-7")) as reader:
        assert "What you may do" in reader.get("/ui/sessions").text
