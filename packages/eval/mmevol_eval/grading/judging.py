"""What a judge is asked when the rules cannot read a reply. Own wording; bump PROMPT_VERSION when it changes."""

from __future__ import annotations

from mmevol_eval.benchmark import Item, Question

PROMPT_VERSION = "1"

_INSTRUCTIONS = {
    "choice": (
        "Below are a single-choice question, its options, and what a model replied. Say which option the reply "
        "means. Write only its letter, or Z if the reply means none of them."
    ),
    "choice_refusal": (
        "Below are a single-choice question about several pictures, its options, and what a model replied. Say which "
        "option the reply settles on. Write only its letter, or Z if it refuses or settles on none of them."
    ),
    "yes_no": (
        "Below are a yes/no question and what a model replied. Say what the reply means. Write one word: Yes, No, "
        "or Unknown if it means neither."
    ),
    "extract": (
        "Below are a question, which may say how the answer should look, and what a model replied. Copy the final "
        "answer out of the reply in the form that is asked for, and write nothing else. Write None if there is none."
    ),
}


def question_about(item: Item, reply: str, kind: str, call: int) -> Question:
    """The judge's task for one reply to one item."""
    options = "\n".join(f"{letter}. {text}" for letter, text in item.options.items())
    parts = (_INSTRUCTIONS[kind], f"Question: {item.question}", f"Options:\n{options}" if options else "")
    prompt = "\n\n".join(part for part in (*parts, f"Reply: {reply}") if part)
    return Question(index=item.index, call=call, prompt=prompt, reply=reply)


def rate_against(item: Item, reply: str, call: int) -> Question:
    """MM-Vet: how right is the reply, 0 to 1."""
    prompt = (
        "Compare a model's reply to a question with the reference answer and say how correct it is, from 0.0 (totally "
        "wrong) to 1.0 (totally right) in steps of 0.1. In the reference, <AND> joins facts that are all needed and "
        f"<OR> joins alternatives. Write only the number.\n\nQuestion: {item.question}\n\n"
        f"Reference: {item.answer}\n\nReply: {reply}\n\nScore:"
    )
    return Question(index=item.index, call=call, prompt=prompt, reply=reply)


def rate_two(item: Item, reply: str) -> Question:
    """LLaVA-Bench: rate a reference answer and the reply, 1 to 10 each."""
    prompt = (
        "A picture is described below, followed by a question about it and two answers. Rate helpfulness, relevance, "
        "accuracy and detail of each answer with one number from 1 to 10, whatever their order. Write the two numbers "
        "on the first line with one space between them, and your reasons below.\n\n"
        f"Picture: {item.extra['caption']}\n\nQuestion: {item.question}\n\n"
        f"Answer 1: {item.extra['gpt4_ans']}\n\nAnswer 2: {reply}"
    )
    return Question(index=item.index, call=0, prompt=prompt, reply=reply, system="You judge answers with care.")


def grade_components(item: Item, reply: str) -> Question:
    """MIA-Bench: how well does the reply follow each component of the instruction."""
    pairs = zip(item.extra["components"], item.extra["component_weight"], strict=True)
    listed = "\n".join(f"{place}. ({weight} points) {text}" for place, (text, weight) in enumerate(pairs, start=1))
    prompt = (
        "Grade strictly how well a reply about the picture follows an instruction. Its components and the points each "
        "is worth are listed; they sum to 10. Begin with one sentence in exactly this form, whole numbers only: "
        "score of component 1: x/w, score of component 2: x/w, total score: z/10. Give your reasons after it.\n\n"
        f"Instruction: {item.question}\n\nComponents:\n{listed}\n\nReply: {reply}"
    )
    return Question(index=item.index, call=0, prompt=prompt, reply=reply, images=item.images)
