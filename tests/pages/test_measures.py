"""What was measured of a line is shown over its versions: of checks, and of labels."""

import xml.etree.ElementTree as ET

from tests.pages.conftest import DELTAS

LINE = "/ui/deltas/team/lora"
SVG = "{http://www.w3.org/2000/svg}"


def test_checks_and_labels_are_drawn_over_versions(desk, pages):
    maker = desk.client(principal="maker")
    pushed = {"lora": "0.75", "lora_v2": "0.5", "lora_qv": "not a number", "lora_bf16": "0.25"}
    for number, (folder, loss) in enumerate(pushed.items(), 1):
        labels = {"metric.loss": loss, "run": "7"}
        maker.push(DELTAS / folder, "team/told", base="tinyllama", labels=labels)
        desk.verified(f"team/told:v{number}")
    path = "/ui/deltas/team/told/metrics"
    found = pages.get(f"{path}?format=json").json()["measures"]
    drawn = ET.fromstring(pages.get(f"{path}?measure=metric.loss&format=svg").text)
    verdict = maker.verdicts.list("team/told:v1").items[0]
    measured = {
        f"{verdict.suite}/{check.name}"
        for check in verdict.checks
        if isinstance(check.value, int | float) and not isinstance(check.value, bool)
    }

    names = [each["name"] for each in found]
    assert set(names) == {"metric.loss", "size", "stored size", *measured}
    assert names[:4] == ["metric.loss", "smoke/general_perplexity", "size", "stored size"]
    assert [each["name"] for each in found if each["is_compared"]] == names[:4]
    assert found[0]["points"] == [
        {"version": 1, "value": 0.75},
        {"version": 2, "value": 0.5},
        {"version": 4, "value": 0.25},
    ]
    assert len(list(drawn.iter(f"{SVG}circle"))) == 3
    assert [each.text for each in drawn.iter(f"{SVG}text")] == ["0", "0.75", "v1", "v4"]
    assert "metric.loss by version: v1 0.75, v2 0.5, v4 0.25" in str(drawn.get("aria-label"))
    rows = pages.get(f"{path}?measure=metric.loss&format=csv").text.split()
    assert rows[1:] == ["metric.loss,1,0.75", "metric.loss,2,0.5", "metric.loss,4,0.25"]
    shown = pages.get(path).text
    assert 'id="measures"' in shown
    assert shown.count('class="plot"') == 3  # of what is always the same the value alone is said
    assert f"{len(measured)} measures did not change" in shown
    assert f'data-hx-get="{path}"' in pages.get("/ui/deltas/team/told").text


def test_what_is_not_measured_says_so(pages):
    assert pages.get(f"{LINE}/metrics?measure=nothing").status_code == 404
    assert pages.get("/ui/deltas/team/none/metrics").status_code == 404
