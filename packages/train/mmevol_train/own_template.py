"""A language model's own chat template, for families that this package has no template for.

The template is kept as it is, behind a few lines that turn pictures into `<image>` and say the special tokens by name.
It marks no answers, so they are found by rendering: an answer is what a turn adds to the prompt that asks for it, up to
and with the special token that ends it. A template that writes earlier turns differently later cannot be used so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

Message = dict[str, str]
PROBE = "aQa"
FLATTEN = """{%- set flat = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- set content = namespace(text='') -%}
{%- if message['content'] is string -%}
{%- set content.text = message['content'] -%}
{%- else -%}
{%- for part in message['content'] if part['type'] == 'image' -%}
{%- set content.text = content.text + '<image>\\n' -%}
{%- endfor -%}
{%- for part in message['content'] if part['type'] == 'text' -%}
{%- set content.text = content.text + part['text'] -%}
{%- endfor -%}
{%- endif -%}
{%- set flat.messages = flat.messages + [{'role': message['role'], 'content': content.text}] -%}
{%- endfor -%}
{%- set messages = flat.messages -%}
"""


def own_template(jinja: str, tokens: Mapping[str, str], system: str | None) -> str:
    """`jinja` with its special tokens by name, a system text where a conversation brings none, and pictures.

    Raises:
        ValueError: when it cannot be used: the reason.
    """
    named = "".join(
        f"{{%- set {name} = {json.dumps(text)} -%}}\n" for name, text in tokens.items() if isinstance(text, str)
    )
    turn = f"[{{'role': 'system', 'content': {json.dumps(system or '')}}}]"
    first = f"{{%- if messages[0]['role'] != 'system' -%}}{{%- set messages = {turn} + messages -%}}{{%- endif -%}}\n"
    whole = named + FLATTEN + (first if system else "") + jinja
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": PROBE}]
    answers(whole, [*talk, {"role": "user", "content": "r"}, {"role": "assistant", "content": "b"}], ())
    return whole


def render(jinja: str, messages: Sequence[Message], *, prompt: bool = False) -> str:
    """Text of a conversation; ValueError with the template's own words when it refuses one."""
    try:
        texts, _ = render_jinja_template([list(messages)], chat_template=jinja, add_generation_prompt=prompt)
    except (TemplateError, TypeError) as error:
        raise ValueError(f"the chat template refuses the conversation: {str(error).splitlines()[0]}") from error
    return str(texts[0])


def answers(jinja: str, messages: Sequence[Message], special: Sequence[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Text of a conversation and the characters of its answers with the tokens that end them."""
    text, spans = render(jinja, messages), []
    end = end_token(jinja, tuple(special))
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = render(jinja, messages[:place], prompt=True)
        after = render(jinja, messages[: place + 1])
        if not (text.startswith(after) and after.startswith(before)):
            raise ValueError("the chat template writes earlier turns differently later")
        stop = after.rfind(end, len(before)) + len(end) if end else len(after)
        spans.append((len(before), stop))
    return text, tuple(spans)


@lru_cache
def end_token(jinja: str, special: tuple[str, ...]) -> str:
    """The special token that ends an answer, "" when there is none."""
    text = render(jinja, [{"role": "user", "content": "q"}, {"role": "assistant", "content": PROBE}])
    rest = text[text.rfind(PROBE) + len(PROBE) :].lstrip()
    return max((token for token in special if rest.startswith(token)), key=len, default="")
