"""The recipe: what survives, what is refused and why, and that nothing depends on order."""

import asyncio
import json
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmevol_core.chat import ChatFailure
from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.sample import DIRECTIONS, QA, Box, Sample
from mmevol_dataengine.ledger import Ledger
from mmevol_dataengine.recipes import blind
from mmevol_dataengine.recipes.mmevol import MMEvol, draw, evolve, load, supports
from mmevol_dataengine.recipes.personas import choose
from mmevol_experiment.compose import compose_groups


def seed_sample(ident="s", items=2, **changes):
    seeds = tuple(
        QA(id=f"{ident}-{place}", question=f"What is object {place}?", answer="A cup", skills=("existence",))
        for place in range(items)
    )
    box = Box(label="cup", xyxy=(0.1, 0.2, 0.3, 0.4))
    return Sample(id=ident, images=("a.png",), caption="Cups.", boxes=(box,), rounds=(seeds,), **changes)


class Model:
    """Answers from a function of the prompt's data, and keeps what it was asked."""

    name, sees_image = "model", False

    def __init__(self, rewrite=None, score=None, fail=(), guess="unknown"):
        self.guess = guess
        self.rewrite, self.score, self.fail, self.asked = rewrite or rewritten, score or improved, fail, []

    async def ask(self, system, prompt, sample, salt, schema=None):
        if sample is None:
            self.asked.append(("blind", prompt, salt))
            if "blind" in self.fail:
                raise ChatFailure("timeout", "too late")
            return self.guess
        task = "score" if "TASK: score" in prompt else "evolve"
        data = json.loads(prompt[prompt.rindex("INPUT:") + 6 :])
        self.asked.append((task, data, salt))
        if task in self.fail:
            raise ChatFailure("timeout", "too late")
        await asyncio.sleep(0)
        answer = self.score(data) if task == "score" else self.rewrite(data)
        return answer if isinstance(answer, str) else json.dumps(answer)


def rewritten(data, **changes):
    return [
        {
            "parent": item["id"],
            "objects": ["cup"],
            "skills": ["grounding", "existence"],
            "format": "multi_choice",
            "question": f"{item['question'].splitlines()[0]} Explain in detail, once more.\nA. a cup\nB. a dog",
            "steps": [
                {"manipulation": f"grounding_{place}(cup)->bbx_{place}", "description": "found"}
                for place in range(1, len(item["steps"]) + 2)
            ],
            "answer": "A. a cup, because it has the form of one",
            **changes,
        }
        for item in data["items"]
    ]


def improved(data, yes=lambda pair: True, points=6):
    return [
        {"id": pair["id"], "improved": "yes" if yes(pair) else "no", "score": points, "reason": "more"}
        for pair in data["pairs"]
    ]


def evolved(sample=None, recipe=None, **model):
    model = Model(**model)
    outcome = asyncio.run(evolve(recipe or MMEvol(), sample or seed_sample(), model, model))
    ledger = Ledger()
    ledger.add(outcome)
    return outcome, ledger.as_dict(1), model


def reasons(books):
    return {**books["total"]["eliminated"], **books["total"]["failed"], **books["total"]["surplus"]}


@pytest.mark.parametrize("rounds", [1, 3, 6])
def test_any_number_of_rounds_build_on_each_other_and_are_judged_against_their_own_parents(rounds):
    outcome, books, model = evolved(recipe=MMEvol(rounds=rounds))
    sample = outcome.sample
    assert [len(generation) for generation in sample.rounds] == [2] * (rounds + 1)
    for before, after in pairwise(sample.rounds):
        assert [item.parent for item in after] == [item.id for item in before]
    scored = [data for task, data, _ in model.asked if task == "score"]
    for number, data in enumerate(scored):
        assert [pair["before"]["question"] for pair in data["pairs"]] == [q.question for q in sample.rounds[number]]
    assert books["total"]["kept"] == books["total"]["generated"] == 2 * rounds


def test_an_eliminated_round_leaves_its_parents_in_force():
    rounds_judged = Counter()

    def score(data):
        rounds_judged["n"] += 1
        return improved(data, yes=lambda pair: rounds_judged["n"] != 2)

    outcome, books, _ = evolved(score=score)
    assert [len(generation) for generation in outcome.sample.rounds] == [2, 2, 0, 2]
    assert [item.parent for item in outcome.sample.rounds[3]] == [item.id for item in outcome.sample.rounds[1]]
    assert reasons(books) == {"not_improved": 2}


def test_scores_are_matched_by_id_whatever_their_order():
    def score(data):
        return list(reversed(improved(data, yes=lambda pair: "object 1" in pair["after"]["question"])))

    outcome, books, _ = evolved(recipe=MMEvol(rounds=1), score=score)
    (kept,) = outcome.sample.rounds[1]
    assert "object 1" in kept.question
    assert reasons(books) == {"not_improved": 1}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda data: improved(data)[:1], {"unscored": 1}),
        (lambda data: [*improved(data), improved(data)[0]], {"unscored": 1}),
        (lambda data: improved(data, points=11), {"score_unparsable": 2}),
        (lambda data: improved(data, points=3), {"low_score": 2}),
        (lambda data: "I would rather not.", {"score_unparsable": 2}),
    ],
)
def test_what_the_judge_leaves_open_is_counted_by_name(answer, expected):
    _, books, _ = evolved(recipe=MMEvol(rounds=1, min_score=4), score=answer)
    assert reasons(books) == expected


def test_a_failed_scoring_call_fails_the_items_and_keeps_their_text():
    outcome, books, _ = evolved(recipe=MMEvol(rounds=1), fail=("score",))
    assert reasons(books) == {"score_timeout": 2}
    assert all(rejected.item.question for rejected in outcome.turns[0].rejected)


def test_a_failed_rewriting_call_fails_the_round_only():
    _, books, _ = evolved(fail=("evolve",))
    assert books["total"]["failed_records"] == {"timeout": 3}
    assert books["total"]["failed"] == {"timeout": 6}  # two items in each of three rounds
    assert books["total"]["generated"] == 0


def test_an_answer_that_cannot_be_parsed_is_asked_for_again_under_another_salt():
    _, books, model = evolved(recipe=MMEvol(rounds=1, attempts=3), rewrite=lambda data: "no json here")
    assert [salt for _, _, salt in model.asked] == [0, 1, 2]
    assert books["total"]["failed_records"] == {"unparsable": 1}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda data: rewritten(data, parent="q9"), {"parent_unknown": 2, "missing_item": 2}),
        (lambda data: rewritten(data)[:1] * 2, {"item_count": 1, "missing_item": 1}),
        (lambda data: rewritten(data)[:1], {"missing_item": 1}),
        (lambda data: rewritten(data, objects=["giraffe"]), {"object_unknown": 2}),
        (lambda data: rewritten(data, question="What is that? Explain in detail.\nA. a\nB. b"), {"duplicate": 1}),
    ],
)
def test_what_breaks_a_rule_is_not_judged(answer, expected):
    _, books, model = evolved(recipe=MMEvol(rounds=1), rewrite=answer)
    assert reasons(books) == expected
    judged = sum(len(data["pairs"]) for task, data, _ in model.asked if task == "score")
    surplus = sum(books["total"]["surplus"].values())
    assert judged == 2 - sum(expected.values()) + surplus
    assert books["total"]["given"] == 2


def test_records_keep_their_result_in_any_order_and_company():
    samples = [seed_sample(f"s{number}") for number in range(12)]

    async def together(rows):
        model = Model()
        return {o.sample.id: o for o in await asyncio.gather(*(evolve(MMEvol(), row, model, model) for row in rows))}

    forward, backward = (asyncio.run(together(rows)) for rows in (samples, samples[::-1]))
    assert forward == backward
    assert forward["s3"] == asyncio.run(together(samples[3:4]))["s3"]


def test_equal_thirds_and_the_released_weights_are_named_choices():
    named = {name: compose_groups({"recipe": name}, [])["recipe"]["weights"] for name in ("mmevol", "mmevol_released")}
    assert set(named["mmevol"].values()) == {1.0} and set(named["mmevol"]) == set(DIRECTIONS)
    released = {"fine_grained_perception": 0.5, "cognitive_reasoning": 0.25, "interaction": 0.25}
    assert named["mmevol_released"] == released


def test_directions_are_drawn_by_their_weights():
    samples = [seed_sample(f"s{number}") for number in range(3000)]
    released = MMEvol(weights={"fine_grained_perception": 0.5, "cognitive_reasoning": 0.25, "interaction": 0.25})
    for recipe, shares in ((MMEvol(), (1 / 3, 1 / 3, 1 / 3)), (released, (0.5, 0.25, 0.25))):
        drawn = Counter(draw(recipe, sample, 1, False) for sample in samples)
        for direction, share in zip(DIRECTIONS, shares, strict=True):  # 3,000 draws: standard error below 0.01
            assert abs(drawn[direction] / 3000 - share) < 0.035


@given(st.booleans(), st.booleans(), st.booleans(), st.integers(1, 9))
def test_no_direction_is_drawn_that_the_record_does_not_support(boxes, caption, sees_image, number):
    sample = seed_sample()
    sample = Sample(
        id="s",
        images=("a.png",),
        caption="Cups." if caption else "",
        boxes=sample.boxes if boxes else (),
        rounds=sample.rounds,
    )
    direction = draw(MMEvol(), sample, number, sees_image)
    assert direction is not None
    assert supports(sample, direction, sees_image)
    if not (boxes or sees_image):
        assert direction != "fine_grained_perception"


def test_a_record_without_images_goes_through_untouched_and_is_counted():
    sample = Sample(id="t", images=(), rounds=seed_sample().rounds)
    outcome, books, model = evolved(sample)
    assert outcome.sample.latest == sample.latest
    assert books["total"]["failed_records"] == {"unsupported": 3}
    assert model.asked == []


@pytest.mark.parametrize("weights", [{"sideways": 1.0}, {"interaction": -1.0}, {"interaction": 0.0}, {}])
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(UserError, match=r"recipe\.weights"):
        fit(MMEvol, {"weights": weights}, "recipe")


def open_answer(data):
    return rewritten(data, format="open_ended", answer="A red cup")


@pytest.mark.parametrize(
    ("guess", "fail", "expected"),
    [
        ("It is a red cup.", (), {"answerable_blind": 2}),
        ("unknown", (), {}),
        ("a red cup or a blue dog or a green tree or a gray bus", (), {}),  # naming everything is no answer
        ("", ("blind",), {"blind_timeout": 2}),
    ],
)
def test_what_is_answered_without_the_image_is_eliminated(guess, fail, expected):
    recipe = MMEvol(rounds=1, blind_test=True, weights={"fine_grained_perception": 1})
    _, books, model = evolved(recipe=recipe, rewrite=open_answer, guess=guess, fail=fail)
    assert reasons(books) == expected
    assert sum(task == "blind" for task, _, _ in model.asked) == 2


@pytest.mark.parametrize("answer", ["Yes.", "B", "no"])
def test_answers_that_chance_would_hit_are_not_asked_for_blind(answer):
    recipe = MMEvol(rounds=1, blind_test=True, weights={"fine_grained_perception": 1})

    def rewrite(data):
        return rewritten(data, format="open_ended", answer=answer)

    _, books, model = evolved(recipe=recipe, rewrite=rewrite, guess=answer)
    assert books["total"]["kept"] == 2
    assert all(task != "blind" for task, _, _ in model.asked)
    assert (books["total"]["blind_asked"], books["total"]["blind_unasked"]) == (0, {"guessable": 2})


@pytest.mark.parametrize(
    ("answer", "asked", "unasked"),
    [
        ("A red cup", 2, {}),
        ("It has the form of one and stands on a table. The answer is a cup.", 2, {}),
        ("It has the form of one and stands on a table.", 0, {"too_long": 2}),
        ("It has the form of one and stands on a table. The answer is yes.", 0, {"guessable": 2}),
        ("A. a cup, because it has the form of one", 0, {"guessable": 2}),
    ],
)
def test_the_ledger_says_how_many_items_were_asked_blind_and_why_others_were_not(answer, asked, unasked):
    recipe = MMEvol(rounds=1, blind_test=True, weights={"fine_grained_perception": 1})

    def rewrite(data):
        return rewritten(data, format="open_ended", answer=answer)

    _, books, model = evolved(recipe=recipe, rewrite=rewrite)
    total = books["total"]
    assert (total["blind_asked"], total["blind_unasked"]) == (asked, unasked)
    assert sum(task == "blind" for task, _, _ in model.asked) == asked
    assert total["kept"] == 2


@pytest.mark.parametrize(
    ("reply", "answer", "expected"),
    [
        ("red", "Red", True),
        ("It is a red cup.", "A red cup", True),
        ("The answer is most likely three.", "3", True),
        ("No parking", "No parking", True),
        ("It is not red", "red", False),
        ("3 or 4?", "3", False),
        ("red/blue", "red", False),
        ("red, blue", "red", False),
        ("3?", "3", False),
        ("a cup", "a red cup", False),
        ("unknown", "red", False),
    ],
)
def test_only_a_reply_that_says_just_the_answer_is_a_hit(reply, answer, expected):
    assert blind.hit(reply, answer) is expected


def test_personas_are_a_function_of_record_and_round(tmp_path):
    (tmp_path / "personas.txt").write_text("a sailor\n\na nurse\na judge\n")
    drawn = [choose(tmp_path / "personas.txt", 0, f"s{number}", 1) for number in range(50)]
    assert set(drawn) == {"a sailor", "a nurse", "a judge"}
    assert drawn == [choose(tmp_path / "personas.txt", 0, f"s{number}", 1) for number in range(50)]
    with pytest.raises(UserError, match="personas"):
        choose(tmp_path / "absent.txt", 0, "s", 1)


def test_the_estimate_reads_the_personas_and_counts_their_words(tmp_path):
    item = QA(id="q", question="What?", answer="That")
    sample = Sample(id="s", images=("a.png",), caption="A cup.", rounds=((item,),))
    (tmp_path / "personas.txt").write_text("a sailor who has been to many harbours\n")
    plain, _ = load(MMEvol(), sample, sees_image=True)
    spoken, _ = load(MMEvol(personas=tmp_path / "personas.txt"), sample, sees_image=True)
    assert spoken.prompt_tokens > plain.prompt_tokens
    with pytest.raises(UserError, match=r"set recipe\.personas"):
        load(MMEvol(personas=tmp_path / "absent.txt"), sample, sees_image=True)
