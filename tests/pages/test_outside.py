"""What others say stands on the page of a version, apart from verdicts, with who says it."""

from tests.outside import OtherSystem, key_of
from tests.pages.conftest import browser
from tests.signed_deltas import public

LINE, V1 = "team/lora", "team/lora:v1"


def test_the_page_of_a_version_says_who_says_what(local_registry, tmp_path):
    maker = local_registry.line("lora")
    others = OtherSystem(maker, tmp_path)
    odd = "<script>alert(1)</script>"
    others.reports(V1, **{odd: 1.5})
    others.measures("lab", V1, mmlu__acc=0.7)
    asked = {"name": "mmlu/acc", "at_least": 0.6, "from": key_of("lab")}
    maker.channels.set_policy(LINE, "prod", {"metrics": [asked], "licences": ["mit"]})

    with browser(local_registry, local_registry.admin_token) as pages:
        page = pages.get("/ui/deltas/team/lora/v1")
        gate = pages.get("/ui/deltas/team/lora/v1/gate").text
        asked = pages.get("/ui/deltas/team/lora/channels/prod/standing").text

    assert page.status_code == 200, page.text[:200]
    outside = page.text.partition('id="outside"')[2].partition("</section>")[0]
    assert odd not in page.text
    assert all(words in outside for words in ("maker, unsigned", "mmlu/acc 0.7", f"key {public('lab').keyid[:12]}"))
    assert "has no card that names its licences" in gate
    assert "mmlu/acc of team/lora:v1 is 0.7, says" in gate
    assert f"mmlu/acc at least 0.6, by key {public('lab').keyid[:12]}" in asked
