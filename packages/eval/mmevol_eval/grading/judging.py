"""What a judge is asked when the rules cannot read a reply. Own wording; bump PROMPT_VERSION when it changes."""

from __future__ import annotations

from mmevol_eval.benchmark import Item, Question

PROMPT_VERSION = "1"
CALL_FAILED = "Failed to obtain answer via API"  # VLMEvalKit's marker of a failed call, in replies of stored logs

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


def question_about(item: Item, reply: str, kind: str, call: int, *, temperature: float = 0.0) -> Question:
    """The judge's task for one reply to one item."""
    options = "\n".join(f"{letter}. {text}" for letter, text in item.options.items())
    parts = (_INSTRUCTIONS[kind], f"Question: {item.question}", f"Options:\n{options}" if options else "")
    prompt = "\n\n".join(part for part in (*parts, f"Reply: {reply}") if part)
    return Question(index=item.index, call=call, prompt=prompt, reply=reply, temperature=temperature, max_tokens=128)
