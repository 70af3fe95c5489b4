"""Small official files of the seventeen benchmarks that VLMEvalKit has, and replies that try every rule."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmevol_core.files import read_json, write_jsonl
from mmevol_eval.benchmark import Item
from mmevol_eval.benchmarks import find
from mmevol_eval.data import STAGE, BenchmarksConfig
from mmevol_eval.grading.tsv import as_list, write_tsv
from mmevol_eval.twins.writing import base64_image

TWINS = ("MME", "MMStar", "HallusionBench", "MathVista_MINI", "MMMU_DEV_VAL", "AI2D_TEST", "POPE", "BLINK",
         "RealWorldQA", "MIA-Bench")  # fmt: skip
JUDGED = ("MathVista_MINI", "MIA-Bench", "MMVet", "LLaVABench")
MISSING = ("", "None", "N/A", "nan", "null", "NA", "NULL", "#N/A", "<NA>", "NaN", "-nan", "n/a", "#NA", "-1.#IND",
           "1.#QNAN")  # fmt: skip  # what pandas reads as a missing cell, then as the word `nan`

# {right} and {wrong} stand for an answer and another one, {text} for the right option's words
REPLIES = (
    "{right}", "{wrong}", "{right}.", "({right})", "{text}", "{wrongtext}", "The answer is {right}.",
    "the answer is **{right}**", "{right} because the picture shows it and nothing else could be meant here, I think",
    "I looked at the picture for a long time and my choice is {right}", "A cat sits on {right} or maybe on {wrong}",
    "Between {right} and {wrong}: {wrong}", "{right}, {right}!", "yes and no", "Yes, it is.", "No; not at all",
    "yes.no", "YES", "no no no", "**{right}**", "{right}\n\nReason: {text}", "Z", "Cannot determine the answer",
    "{right}?",
    "I'm sorry, but without the image provided I cannot", "Failed to obtain answer via API.", "{text} {wrongtext}",
    "{lower}", " {right} ", "\"{right}\"", "{text} is what I see, so it must be that and no other thing in the world",
    "=1+1", "3", "3.0", "1,000", "-0", "٣", "${right}$", "\\boxed{{{right}}}", "选 {right}", "{right}/{wrong}",
    "", "None", "nan", "N/A", "<think>hm</think>{right}", "tab\t{right}", "Answer: {right}\nAnswer: {wrong}",
    "{right}: {text}",
    "the {text}", "{text}\r\n", "'{text}'", "not {text}", "an {text}.", "None of them is {text}", "nine", "9.",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One benchmark's file with predictions, and a replay file where a judge is meant to be asked."""

    benchmark: str
    data: Path
    predictions: Path
    judge: str

    @property
    def items(self) -> list[Item]:
        return list(find(self.benchmark).load(self.data))


def write_all(held_out: Path, root: Path, items: int, replies: Sequence[str] = REPLIES) -> list[Case]:
    """Every file with about `items` rows, and a case of it without a judge and with one where that can be scored."""
    config = BenchmarksConfig(source="twins", names=(*TWINS, "GQA"), items=items)
    STAGE.run(config, {"held_out": held_out}, root)
    folder = root / "benchmarks"
    files = {name: folder / f"{name}.tsv" for name in TWINS}
    files["GQA"] = gqa(folder / "GQA", folder / "GQA_TestDev_Balanced.tsv")
    pictures = [base64_image(path) for path in sorted((held_out / "images").iterdir())]
    for name, rows in OTHERS.items():
        files[name] = folder / f"{name}.tsv"
        write_tsv(files[name], list(rows(pictures, items)))
    return [case for name, file in files.items() for case in _cases(name, file, root, replies)]


def _cases(name: str, data: Path, root: Path, forms: Sequence[str]) -> Iterator[Case]:
    rules = find(name)
    rng = random.Random(name)
    items = list(rules.load(data))
    predictions = root / f"{name}.predictions.jsonl"
    offset = rng.randrange(len(forms))
    write_jsonl(
        predictions,
        [
            {"index": item.index, "prediction": reply(forms[(place + offset) % len(forms)], item)}
            for place, item in enumerate(items)
        ],
    )
    judge = root / f"{name}.judge.jsonl"
    write_jsonl(judge, [{"index": item.index, "outputs": outputs(name, item, rng)} for item in items])
    if not rules.needs_judge:
        yield Case(name, data, predictions, "none")
    if name not in ("GQA", "OCRBench", "TextVQA"):
        yield Case(name, data, predictions, f"replay:{judge}")


def reply(form: str, item: Item) -> str:
    """A reply about the item."""
    right = str(item.extra.get("answer_option") or item.answer or "Yes")
    if right.startswith("["):
        right = str(as_list(right, "answer")[0])
    others = [letter for letter in item.options if letter != right]
    wrong = others[len(item.index) % len(others)] if others else ("No" if right == "Yes" else "Yes")
    text, wrongtext = item.options.get(right, item.answer), item.options.get(wrong, wrong)
    return form.format(right=right, wrong=wrong, text=text, wrongtext=wrongtext, lower=right.lower())


def outputs(name: str, item: Item, rng: random.Random) -> list[str]:
    """What a judge says about the item, call after call; often not what it was asked for."""
    if name == "MMVet":
        return rng.choice([["0.7"], ["good", "1.2", "0.3"], ["-1", "x", "", "y", "z"], ["1.0"], ["nine", "0"]])
    if name == "LLaVABench":
        return [rng.choice(["8 7\nfine", "8, 7", "8,7\nclose", "ten 3", "9 6 1", "5 10\n\nwell", "10 0.5"])]
    if name == "MIA-Bench":
        return [components(item, rng)]
    right = reply("{right}", item)
    lists = [[right], ["so so", right], [reply("{wrong}", item)], ["Z"], [right.lower()], ["", "hm", f"({right})"]]
    if name == "MathVista_MINI":
        lists += [["Failed to obtain answer via API.", right], ["Failed to obtain answer via API."] * 5, [item.answer]]
    return rng.choice([*lists, ["nothing", "nothing at all", "still nothing", "no idea", "really none"]])


def components(item: Item, rng: random.Random) -> str:
    """MIA-Bench's one sentence, or something that its parser stumbles over."""
    weights = item.extra["component_weight"]
    shares = [f"score of component {place}: {rng.randint(0, int(w))}/{w}" for place, w in enumerate(weights, start=1)]
    sentence = ", ".join([*shares, f"total score: {rng.randint(0, 10)}/10"])
    return rng.choice([f"{sentence}. Well done.", sentence, f"Sure. {sentence}.", sentence.replace(": ", ":"),
                       sentence.replace("/10", ".5/10"), f"{sentence}, as asked.", "I cannot see it."])  # fmt: skip


def gqa(folder: Path, path: Path) -> Path:
    """The official question file as the kit's TSV."""
    questions = read_json(folder / "testdev_balanced_questions.json")
    rows = [
        {
            "index": str(number),
            "image": base64_image(next((folder / "images").glob(f"{question['imageId']}.*"))),
            "question": question["question"],
            "answer": question["answer"],
        }
        for number, question in enumerate(questions.values())
    ]
    write_tsv(path, rows)
    return path


def _mmvet(pictures: Sequence[str], items: int) -> Iterator[dict[str, str]]:
    kinds = ("rec", "ocr,math", "rec,know,gen", "ocr,spat", "rec,spat", "ocr")
    for number in range(items):
        yield {"index": f"v1_{number}", "image": pictures[number % len(pictures)], "question": "What is it?",
               "answer": "red<AND>circle", "category": kinds[number % len(kinds)]}  # fmt: skip


def _llavabench(pictures: Sequence[str], items: int) -> Iterator[dict[str, str]]:
    for number in range(items):
        yield {"index": str(number), "image": pictures[number % len(pictures)], "question": f"What is it ({number})?",
               "answer": "", "caption": "a shape", "gpt4_ans": f"A shape, number {number}.",
               "category": ("conv", "detail", "complex")[number % 3]}  # fmt: skip


def _ocrbench(pictures: Sequence[str], items: int) -> Iterator[dict[str, str]]:
    kinds = ("Regular Text Recognition", "Irregular Text Recognition", "Artistic Text Recognition",
             "Handwriting Recognition", "Digit String Recognition", "Non-Semantic Text Recognition",
             "Scene Text-centric VQA", "Doc-oriented VQA", "Key Information Extraction",
             "Handwritten Mathematical Expression Recognition")  # fmt: skip
    for number in range(items):
        answers = (["Stop"], ["3"], ["new\nline", "NEW line"], ["a b"], ["x ^ 2"])[number % 5]
        yield {"index": str(number), "image": pictures[number % len(pictures)], "question": "what is written?",
               "answer": str(answers), "category": kinds[number % len(kinds)]}  # fmt: skip


def _textvqa(pictures: Sequence[str], items: int) -> Iterator[dict[str, str]]:
    for number in range(items):
        word = ("stop", "it's", "9.", "1,000", "the two", "dont")[number % 6]
        answers = [word] * (number % 11) + ["other"] * (10 - number % 11)
        yield {"index": str(number), "image": pictures[number % len(pictures)], "question": "what is written?",
               "answer": str(answers)}  # fmt: skip


def _scienceqa(pictures: Sequence[str], items: int) -> Iterator[dict[str, str]]:
    options = ("a magnet", "magnetic", "12 N", "120 N", "the force")
    for number in range(items):
        count = 2 + number % 4
        yield {"index": str(number), "image": pictures[number % len(pictures)], "question": "Which one?",
               "hint": "Look." if number % 2 else "", **{letter: text if place < count else "" for place, (letter, text)
               in enumerate(zip("ABCDE", options, strict=True))},
               "answer": "ABCDE"[number % count], "category": ("physics", "biology")[number % 2]}  # fmt: skip


def _mmbench(pictures: Sequence[str], items: int) -> Iterator[dict[str, str]]:
    options = ["red", "green", "blue", "yellow"]
    for turn in range(4):
        for number in range(items // 4):
            turned = options[-turn:] + options[:-turn] if turn else options
            yield {"index": str(number + turn * 1_000_000), "image": pictures[number % len(pictures)],
                   "question": "What color?", "hint": "", **dict(zip("ABCD", turned, strict=True)),
                   "answer": "ABCD"[(number + turn) % 4], "category": ("action", "color")[number % 2],
                   "l2-category": ("coarse_perception", "attribute_reasoning")[number % 2], "split": "dev"}  # fmt: skip


OTHERS: dict[str, Callable[[Sequence[str], int], Iterator[dict[str, str]]]] = {
    "MMVet": _mmvet,
    "LLaVABench": _llavabench,
    "OCRBench": _ocrbench,
    "TextVQA": _textvqa,
    "ScienceQA": _scienceqa,
    "MMBench": _mmbench,
}
