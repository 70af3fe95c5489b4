import base64
import io
import json
import re
import shutil
import subprocess
import time

import pytest
from PIL import Image

from mmevol_core.errors import UserError
from mmevol_core.files import read_json, write_json, write_jsonl
from mmevol_eval.grading.tsv import write_tsv
from mmevol_eval.protocol import data_hash
from mmevol_eval.results_page import write_results

EVIL = "</script><script>document.title='taken'</script> & <b>bold</b>"


def item(index, score, benchmark="POPE", category="random", **changes):
    return {
        "benchmark": benchmark, "index": str(index), "category": category, "question": f"Is there a dog {index}?",
        "options": {}, "answer": "Yes", "prediction": "no", "parsed": "No", "method": "rule", "score": score,
    } | changes  # fmt: skip


def evaluation(folder, rows):
    names = dict.fromkeys(row["benchmark"] for row in rows)
    entry = {"score": 50.0, "headline": "Overall", "unit": "percent", "maximum": 100.0, "ci95": [40.0, 60.0],
             "blind": 20.0, "n": len(rows), "unparsed": 1, "protocol": {"rules": "vlmevalkit"},
             "protocol_hash": "0123456789abcdef", "scores": {"Overall": 50.0, "acc": 51.0}}  # fmt: skip
    average = {"score": 50.0, "ci95": [40.0, 60.0], "blind": 20.0, "n": len(rows)}
    write_json(folder / "scores.json", {"benchmarks": {name: entry for name in names}, "average": average})
    write_jsonl(folder / "items.jsonl", rows)
    return folder


def pictures(folder, indices):
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480), "red").save(buffer, "PNG")
    cell = base64.b64encode(buffer.getvalue()).decode()
    row = {"image": cell, "question": "?", "answer": "Yes", "category": "random"}
    write_tsv(folder / "POPE.tsv", [row | {"index": str(index)} for index in indices])
    return folder


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])


def test_wrong_answers_are_listed_with_picture_and_the_rest_is_counted(tmp_path):
    rows = [item(1, 1.0), item(2, 0.0), item(3, 0.3), item(4, None), item(5, 0.9)]
    page = tmp_path / "out" / "r.html"
    counts = write_results(evaluation(tmp_path / "e", rows), page, pictures(tmp_path / "b", range(1, 6)), pictures=1)
    assert counts == {"wrong": 2, "listed": 2, "pictures": 1, "items": 5}
    data = data_of(page)
    assert [row["index"] for row in data["wrong"]] == ["2", "3"]
    with Image.open(io.BytesIO(base64.b64decode(data["wrong"][0]["pictures"][0].split(",")[1]))) as picture:
        assert picture.size == (320, 240)
    # 1.0, 0.0, 0.3 and 0.9 count; the item without a score does not: mean 0.55
    assert data["benchmarks"][0]["categories"] == [{"name": "random", "percent": pytest.approx(55), "n": 4}]


def test_the_list_takes_in_turn_from_every_category(tmp_path):
    rows = [item(n, 0.0, category="adversarial") for n in range(50)] + [item(50 + n, 0.0) for n in range(3)]
    write_results(evaluation(tmp_path / "e", rows), tmp_path / "r.html", listed=6)
    listed = [row["category"] for row in data_of(tmp_path / "r.html")["wrong"]]
    assert (listed.count("adversarial"), listed.count("random")) == (3, 3)


def test_the_benchmark_files_are_found_through_the_manifest_and_may_be_gone(tmp_path):
    folder = evaluation(tmp_path / "stages" / "evaluate" / "f1", [item(1, 0.0)])
    write_json(folder / "manifest.json", {"inputs": {"benchmarks": {"stage": "benchmarks", "fingerprint": "f2"}}})
    assert write_results(folder, tmp_path / "r.html")["pictures"] == 0
    pictures(tmp_path / "stages" / "benchmarks" / "f2" / "benchmarks", [1])
    assert write_results(folder, tmp_path / "r.html")["pictures"] == 1
    with pytest.raises(UserError, match=r"holds no scores\.json"):
        write_results(tmp_path, tmp_path / "r.html")


def test_a_benchmark_at_its_own_path_is_shown_with_pictures_and_named_when_it_is_gone(tmp_path):
    folder = evaluation(tmp_path / "stages" / "evaluate" / "f1", [item(1, 0.0)])
    own = pictures(tmp_path / "elsewhere", [1]) / "POPE.tsv"
    (tmp_path / "stages" / "benchmarks" / "f2" / "benchmarks").mkdir(parents=True)
    inputs = {"benchmarks": {"stage": "benchmarks", "fingerprint": "f2"}}
    write_json(folder / "manifest.json", {"inputs": inputs, "config": {"settings": {"POPE": {"path": str(own)}}}})
    assert write_results(folder, tmp_path / "r.html")["pictures"] == 1
    assert data_of(tmp_path / "r.html")["gone"] == []
    own.unlink()
    assert write_results(folder, tmp_path / "r.html")["pictures"] == 0
    assert data_of(tmp_path / "r.html")["gone"] == ["POPE"]


def test_pictures_of_another_file_than_the_evaluated_one_are_not_shown(tmp_path):
    folder, files = evaluation(tmp_path / "e", [item(1, 0.0)]), pictures(tmp_path / "b", [1])
    scores = read_json(folder / "scores.json")
    scores["benchmarks"]["POPE"]["protocol"]["data"] = f"{data_hash(files / 'POPE.tsv')}, 1 of 2 items"
    write_json(folder / "scores.json", scores)
    assert write_results(folder, tmp_path / "r.html", files)["pictures"] == 1
    assert data_of(tmp_path / "r.html")["other"] == []
    pictures(files, [1, 2])
    assert write_results(folder, tmp_path / "r.html", files)["pictures"] == 0
    assert data_of(tmp_path / "r.html")["other"] == ["POPE"]


def test_a_folder_without_any_of_the_benchmarks_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds none of POPE; give the folder of the benchmark files"):
        write_results(evaluation(tmp_path / "e", [item(1, 0.0)]), tmp_path / "r.html", tmp_path)


def test_ten_thousand_items_make_a_page_of_a_few_megabytes_in_seconds(tmp_path):
    rows = [item(n, float(n % 3 == 0), prediction="no " * 50) for n in range(10_000)]
    start = time.process_time()
    counts = write_results(evaluation(tmp_path / "e", rows), tmp_path / "r.html")
    assert time.process_time() - start < 5
    assert (counts["wrong"], counts["listed"]) == (6666, 3000)
    assert (tmp_path / "r.html").stat().st_size < 5_000_000


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine")
def test_a_browser_shows_the_table_filters_the_answers_and_runs_no_text_of_the_model(tmp_path):
    rows = [item(1, 0.0, prediction=EVIL, question=EVIL), item(2, 0.0, method="none", parsed=""), item(3, 1.0)]
    page = tmp_path / "r.html"
    write_results(evaluation(tmp_path / "e", rows), page, pictures(tmp_path / "b", [1, 2, 3]), title="Model <i>x</i>")
    whole, unparsed = dom(page, ""), dom(page, "#benchmark=POPE&method=none")
    assert "<title>Model &lt;i&gt;x&lt;/i&gt;</title>" in whole
    assert whole.count("<article>") == 2
    assert "2 answers are wrong." in whole
    assert '<img src="data:image/jpeg;base64,' in whole
    assert '<dd class="bad">&lt;/script&gt;&lt;script&gt;' in whole
    assert (unparsed.count("<article>"), "unparsed: wrong" in unparsed) == (1, True)


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine")
def test_a_browser_shows_what_is_detectable_and_the_clean_score(tmp_path):
    folder = evaluation(tmp_path / "e", [item(1, 1.0), item(2, 0.0), item(1, 1.0, "MME")])
    scores = read_json(folder / "scores.json")
    scores["benchmarks"]["POPE"] |= {"mde": 7.31, "clean": {"score": 43.21, "n": 1, "left_out": 1}}
    write_json(folder / "scores.json", scores)
    write_results(folder, tmp_path / "r.html")
    whole = dom(tmp_path / "r.html", "")
    assert "<td>7.3</td>" in whole
    assert "Without items that met training data: POPE 43.2 (all: 50.0, left out: 1 of 3)." in whole


def dom(page, fragment):
    """What the browser has after running the page's script."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"{page.as_uri()}{fragment}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
