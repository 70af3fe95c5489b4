"""Backslashes and drafts: what a sceptic found, with the values that are right (None: nothing may come back)."""

import json


def item(answer, question="What is shown?"):
    steps = [{"manipulation": "grounding_1(dog)->bbx_1", "description": "Find the dog."}]
    return {
        "objects": ["dog"], "skills": ["grounding"], "format": "multi_choice",
        "question": question, "steps": steps, "answer": answer,
    }  # fmt: skip


# Valid JSON whose line ends and tabs stand before letters that would make a command.
PLAIN = [
    "$x = 3$\nu = 4",
    "$5 and\nu = $6",
    "Solve $y=2$.\ni = 3",
    "Cost: $3\nnot $4",
    "We have $\\alpha$.\nNow $\\nu = 3$.\nne xt",
    "\\begin{bmatrix} 1 & 2 \\\\ 3 & 4 \\end{bmatrix}",
]
# Unescaped LaTeX with row breaks.
ROWS = [
    r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}",
    r"\begin{aligned} a &= b \\ &= c \end{aligned}",
    r"\frac{a}{b} \\ \nu",
]
DRAFT, FINAL = json.dumps([item("Draft.", "What is drafted?")]), json.dumps([item("Final.")])
DRAFTS = [
    f"【思考】可能是 {DRAFT}【/思考】\n【答案】\n{FINAL}",
    f"```thinking\n{DRAFT}\n```\n```json\n{FINAL}\n```",
    f"Not this: {DRAFT}\nbut this: {FINAL}",
    f"~~{DRAFT[1:-1]}~~\n{FINAL}",
]


def cases():
    """Pairs of a reply and its items."""
    plain = [(json.dumps([item(answer)]), [item(answer)]) for answer in PLAIN]
    rows = [(json.dumps([item("@")]).replace("@", answer), None) for answer in ROWS]
    return plain + rows + [(reply, [item("Final.")]) for reply in DRAFTS]
