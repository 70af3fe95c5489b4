"""Charts of data sets are whole SVG that hold every number they were given."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from mmevol_core.sample import QA, Sample, write_samples
from mmevol_experiment.charts_data import domains, histograms, ranked, size, standalone, sunburst, tail

CHARTS = {
    "histograms": histograms({"before": {"1": 3, "2": 1}, "after": {"1": 1, "3": 4}}, "Skills", "skills"),
    "ranked": ranked({"before": {"cup": 2}, "after": {"cup": 4, "<spoon>": 1}}, "Objects"),
    "sunburst": sunburst({"describe image": 5, "find cup": 2, "find dog": 1}, "Verbs"),
    "alone": sunburst({"describe image": 5}, "Verbs"),  # one verb is a whole circle
    "tail": tail([("cup", 1, 40), ("spoon", 0, 3)], "Tail"),
    "domains": domains({"Photos": {"coco": 90, "sam": 20}, "Charts": {"dvqa": 5}}),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_whole_svg_of_the_size_it_says(name):
    root = ElementTree.fromstring(standalone(CHARTS[name], CHARTS[name]))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    wide, high = size(CHARTS[name])
    assert root.get("viewBox") == f"0 0 {wide:g} {2 * high + 24:g}"
    assert not re.search(r"\bnan\b", CHARTS[name])


def test_shares_of_a_histogram_are_of_its_own_sum():
    assert "before, 1: 75.0 %" in CHARTS["histograms"]  # 3 of 4
    assert "after, 3: 80.0 %" in CHARTS["histograms"]  # 4 of 5


def test_counts_and_shares_of_domains_are_written_out():
    assert "Photos 110 (95.7 %)" in CHARTS["domains"]  # of 115


@pytest.mark.parametrize("chart", [histograms({}, "", ""), ranked({}, ""), sunburst({}, ""), tail([], ""), domains({})])
def test_nothing_draws_nothing(chart):
    assert chart == ""


def test_the_command_draws_every_figure_of_records(tmp_path):
    seed = QA(id="a", question="Describe the cup.", answer="It is red.", objects=("cup",), skills=("ocr",))
    child = QA(
        id="b", question="Find the spoon.", answer="Here.", objects=("spoon",), score=7.0, direction="interaction"
    )
    write_samples(tmp_path / "evolved.jsonl", [Sample(id="s", images=("coco/a.png",), rounds=((seed,), (child,)))])
    command = [sys.executable, "-m", "mmevol_experiment", "data", "figures", "evolved.jsonl", "--out", "drawn"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    drawn = {path.stem for path in (tmp_path / "drawn").glob("*.svg")}
    assert drawn >= {"skills_per_item", "scores", "verbs_before", "verbs_after", "objects", "long_tail", "sources"}
    for path in (tmp_path / "drawn").glob("*.svg"):
        ElementTree.parse(path)
    assert "coco" in (tmp_path / "drawn" / "sources.svg").read_text()
    assert json.dumps("spoon")[1:-1] in (tmp_path / "drawn" / "objects.svg").read_text()
