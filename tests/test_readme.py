"""README.md promises only what exists: make targets, files, and the numbers of the committed result."""

import re
import tomllib
from pathlib import Path

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json
from mmevol_experiment.readme import BEGIN, END, KEPT, RESULT, update, with_table

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBERS = {
    "name": "quickstart",
    "headline": "The evolved data was worth +2.5 points.",
    "findings": ["The evolved data was worth +2.5 points."],
    "labels": ["tiny twins, not the official benchmarks"],
    "arms": {"seed": {"benchmarks": {"pope": {"score": 50.04, "ci95": [40.0, 60.06]}}}},
    **{
        key: {} for key in ("measures", "differences", "leave_one_out", "readable", "gates", "gates_passed", "versions")
    },
}


def make_targets() -> set[str]:
    """Names before a colon at the start of a line of the Makefile."""
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "docs/*.md"])
def test_every_make_target_a_page_names_exists(page):
    for path in ROOT.glob(page):
        named = set(re.findall(r"\bmake ([a-z][a-z-]*)", "\n".join(_code(path.read_text(encoding="utf-8")))))
        assert named <= make_targets(), f"{path.name} names {sorted(named - make_targets())}"


def test_the_readme_names_the_targets_a_newcomer_needs():
    assert {"experiment", "test"} <= set(re.findall(r"make ([a-z-]+)", README)) <= make_targets()


def test_every_relative_link_of_the_front_pages_leads_to_a_file():
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        if not (ROOT / name).is_file():
            continue
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{name} links to {target}"


def test_the_result_table_is_what_the_committed_numbers_render():
    if (ROOT / RESULT).is_file():
        assert with_table(README, read_json(ROOT / RESULT)) == README, "run `mmevol readme`"
    else:
        between = README.partition(BEGIN)[2].partition(END)[0]
        assert "|" not in between, f"a table without the numbers it came from: {RESULT} is missing"


def test_update_writes_the_numbers_and_their_table_together(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_json(tmp_path / "report.json", {**NUMBERS, "left_out": "a page of details"})
    update(tmp_path, tmp_path / "report.json")
    text = (tmp_path / "README.md").read_text()
    kept = read_json(tmp_path / RESULT)
    assert set(kept) == set(KEPT)
    assert text == with_table(text, kept)
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    # one decimal: 50.04 -> 50.0, 60.06 -> 60.1
    assert "| pope | 50.0 [40.0, 60.1] |" in text


def test_a_readme_without_markers_is_refused():
    with pytest.raises(UserError, match="markers"):
        with_table("no markers here", NUMBERS)


def _code(text: str) -> list[str]:
    """Code blocks and inline code of a Markdown text."""
    blocks = re.findall(r"```.*?```", text, re.S)
    return blocks + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


def test_every_dependency_has_a_row_that_says_why():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stated = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[\[<>=~ ]", text)[0] for text in stated} - {"mmevol"}
    rows = re.findall(r"^\| (`[^|]+) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == names
