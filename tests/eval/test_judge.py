import json

import pytest
from support.mock_teacher import MockTeacher

from mmevol_core.errors import UserError
from mmevol_core.files import write_jsonl
from mmevol_core.journal import Journal
from mmevol_eval.benchmark import Item, Question
from mmevol_eval.grading import choice
from mmevol_eval.grading.judging import question_about
from mmevol_eval.judge import ReplayJudge, judge_from

ITEM = Item(index="1", question="Which animal?", options={"A": "cat", "B": "dog"}, answer="B")


def yaml_of(tmp_path, base_url, **more):
    path = tmp_path / "judge.yaml"
    path.write_text(json.dumps({"base_url": base_url, "model": "mock", "max_attempts": 2, "patience_s": 1} | more))
    return str(path)


def test_a_replayed_judge_gives_output_n_to_call_n_and_the_last_from_then_on(tmp_path):
    write_jsonl(tmp_path / "j.jsonl", [{"index": 1, "outputs": ["x", "y"]}])
    judge = ReplayJudge(tmp_path / "j.jsonl")
    assert [judge.ask(question_about(ITEM, "?", "choice", call)) for call in range(4)] == ["x", "y", "y", "y"]


@pytest.mark.parametrize("row", [{"index": 1}, {"outputs": ["x"]}, {"index": 1, "outputs": []}, ["x"]])
def test_a_replay_file_that_is_not_one_is_refused_with_its_record(tmp_path, row):
    write_jsonl(tmp_path / "j.jsonl", [row])
    with pytest.raises(UserError, match="record 1: expected"):
        ReplayJudge(tmp_path / "j.jsonl")


def test_a_replay_file_with_an_index_twice_is_refused(tmp_path):
    write_jsonl(tmp_path / "j.jsonl", [{"index": 1, "outputs": ["x"]}, {"index": "1", "outputs": ["y"]}])
    with pytest.raises(UserError, match="record 2: index '1' occurs twice"):
        ReplayJudge(tmp_path / "j.jsonl")


def test_a_judge_is_never_asked_without_the_picture_that_it_is_to_see(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with MockTeacher() as teacher:
        judge = judge_from(yaml_of(tmp_path, teacher.base_url), tmp_path / "judge.sqlite")
        asked = teacher.stats()["requests"]
        for name in ("gone.png", "broken.png"):
            with pytest.raises(UserError, match="the judge is to see the picture of item 1"):
                judge.ask(Question(index="1", call=0, prompt="?", images=(tmp_path / name,)))
        assert teacher.stats()["requests"] == asked
        judge.close()


def test_a_verdict_from_an_endpoint_is_kept_and_not_asked_again(tmp_path):
    with MockTeacher() as teacher:
        config, requests = yaml_of(tmp_path, teacher.base_url), []
        for _ in range(2):
            judge = judge_from(config, tmp_path / "judge.sqlite")
            verdict = choice.grade(ITEM, "the barking one", "vlmevalkit", judge)
            judge.close()
            assert verdict.method in {"judge", "none"}
            requests.append(teacher.stats()["requests"])
    assert 1 <= requests[0] <= 1 + choice.JUDGE_CALLS  # the first asks whether it is there
    assert requests[1] == requests[0]


def test_judges_that_sample_otherwise_have_other_names_and_so_other_protocols(tmp_path):
    names = []
    with MockTeacher() as teacher:
        for more in ({}, {"temperature": 0.0}, {"seed": 1}, {"max_tokens": 5}, {"extra": {"top_p": 0.9}}, {"rpm": 9e9}):
            judge = judge_from(yaml_of(tmp_path, teacher.base_url, **more), tmp_path / "judge.sqlite")
            names.append(judge.name)
            judge.close()
    assert all(name.startswith("mock/prompts-1/sampling-") for name in names)
    assert len(set(names)) == 5 and names[0] == names[-1]  # how fast it is asked decides no verdict


def test_a_dead_judge_stops_the_run(tmp_path):
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9"):
        judge_from(yaml_of(tmp_path, "http://127.0.0.1:9/v1"), tmp_path / "judge.sqlite")
    Journal(tmp_path / "judge.sqlite").close()  # nobody holds it any more


def test_a_judge_that_dies_in_the_middle_stops_the_run(tmp_path):
    with MockTeacher() as teacher:
        judge = judge_from(yaml_of(tmp_path, teacher.base_url), tmp_path / "judge.sqlite")
    with pytest.raises(UserError, match=r"127\.0\.0\.1"):
        choice.grade(ITEM, "the barking one", "vlmevalkit", judge)
    judge.close()


def test_a_judge_behind_a_batch_endpoint_is_asked_by_batches(tmp_path):
    with MockTeacher(batch_delay=0.05) as teacher:
        batch = {"gather_s": 0.05, "poll_s": 0.05}
        judge = judge_from(yaml_of(tmp_path, teacher.base_url, batch=batch), tmp_path / "judge.sqlite")
        assert judge.concurrency > 64
        assert judge.ask(question_about(ITEM, "?", "choice", 0))
        judge.close()
    assert (tmp_path / "judge.sqlite.batches.json").exists()


def test_what_names_no_judge_is_refused(tmp_path):
    assert judge_from("none") is None
    with pytest.raises(UserError, match="valid: none, scripted, replay:FILE"):
        judge_from(str(tmp_path / "absent.yaml"))
    with pytest.raises(UserError, match="unknown config key"):
        judge_from(yaml_of(tmp_path, "http://x/v1", modle="y"))
    with pytest.raises(UserError, match="structured is not used"):
        judge_from(yaml_of(tmp_path, "http://x/v1", structured=True))
    with pytest.raises(UserError, match="is a folder"):
        judge_from(str(tmp_path))


@pytest.mark.parametrize("output", [None, True, ["A"]])
def test_a_replay_file_holds_texts(tmp_path, output):
    write_jsonl(tmp_path / "r.jsonl", [{"index": 1, "outputs": ["A", output]}])
    with pytest.raises(UserError, match="record 1: outputs are texts"):
        ReplayJudge(tmp_path / "r.jsonl")
