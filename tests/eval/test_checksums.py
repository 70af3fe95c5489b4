"""`mmevol run --offline` holds the benchmark files to their published MD5 before anything is spent."""

import hashlib
import os
import subprocess
import sys

import pytest

from mmevol_core.errors import UserError
from mmevol_core.files import read_json
from mmevol_eval.benchmark import PublishedData
from mmevol_eval.checksums import check_sums
from mmevol_experiment.compose import compose
from mmevol_experiment.experiment import prepare
from mmevol_experiment.preflight import check
from mmevol_experiment.published import CACHE

TSV = "index\timage\tquestion\tA\tB\tanswer\n1\t/9j/\tWhich?\tx\ty\tA\n"
MD5 = hashlib.md5(TSV.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "MMStar.tsv").write_text(TSV)
    return tmp_path / "files"


def overrides(folder, *more):
    return [
        *("experiment=quickstart", "stages=[evaluation]", "evaluate.names=[MMStar]", "evaluate.probes=false"),
        *("benchmarks=official", f"benchmarks.path={folder}", f"paths.outputs={folder.parent / 'outputs'}", *more),
    ]


def experiment(folder, *more):
    return prepare(compose(overrides(folder, *more)))


def as_published(md5=MD5):
    return f"benchmark.mmstar.files=[{{url:'https://a.example/MMStar.tsv',save:MMStar.tsv,md5:{md5}}}]"


def test_offline_refuses_a_file_that_is_not_the_published_one(folder):
    said = f"MMStar: .*MMStar.tsv has MD5 {MD5}, published is e1ecd21.*fetch it anew .*mmstar.settings.path="
    with pytest.raises(UserError, match=said):
        check(experiment(folder, "offline=true"))
    assert not list((folder.parent / "outputs").glob("stages/*/*/"))


def test_offline_takes_the_published_file_and_says_so(folder):
    right = experiment(folder, "offline=true", as_published())
    assert check(right).notes == ["benchmark files: 1 of 1 have their published MD5"]


def test_without_offline_another_file_is_a_note(folder):
    other = experiment(folder, "offline=false")
    assert [note.split(":")[0] for note in check(other).notes] == ["NOT THE PUBLISHED FILE", "benchmark files"]


def test_a_file_named_by_itself_is_a_note_also_offline(folder):
    named = experiment(folder, "offline=true", f"benchmark.mmstar.settings.path={folder / 'MMStar.tsv'}")
    assert check(named).notes[0].startswith("NOT THE PUBLISHED FILE: MMStar")


def test_an_absent_file_is_missing_before_anything_is_paid(folder):
    (folder / "MMStar.tsv").unlink()
    with pytest.raises(UserError, match=r"missing: MMStar: no data at .*mmevol fetch MMStar --to FOLDER"):
        check(experiment(folder))


def test_the_command_prints_one_line_and_starts_nothing(folder):
    command = [sys.executable, "-m", "mmevol_experiment", "run", "--offline", *overrides(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "published is e1ecd21" in done.stderr


def test_a_file_is_read_once_until_its_size_or_time_changes(folder, tmp_path, monkeypatch):
    read = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: read.append(1) or real(*given))
    path, cache = folder / "MMStar.tsv", tmp_path / CACHE
    files = [{"url": "https://a.example/x", "save": "MMStar.tsv", "md5": MD5}]
    data = [(PublishedData(name="MMStar", data="MMStar.tsv", where="there", files=files), path)]

    def states():
        return [one.state for one in check_sums(data, cache)]

    assert (states(), states(), len(read)) == (["published"], ["published"], 1)
    assert read_json(cache) == {str(path): [path.stat().st_size, path.stat().st_mtime_ns, MD5]}
    path.write_text(TSV.replace("Which", "whicH"))  # as long, written later
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert (states(), states(), len(read)) == (["other"], ["other"], 2)


def test_folders_other_splits_and_files_without_a_sum_have_nothing_to_be_compared_with(folder, tmp_path):
    files = [{"url": "https://a.example/x", "save": "MMBench_DEV_EN.tsv", "md5": MD5}]
    published = PublishedData(name="MMBench", data="MMBench_DEV_EN.tsv", where="there", files=files)
    found = {}
    for name in ("MMBench_DEV_EN.tsv", "MMBench.tsv", "MMBench_DEV_CN.tsv"):
        (folder / name).write_text(TSV)
        found[name] = check_sums([(published, folder / name)], tmp_path / CACHE)[0].state
    assert list(found.values()) == ["published", "published", "without"]
    assert check_sums([(published, folder)], tmp_path / CACHE)[0].state == "without"
