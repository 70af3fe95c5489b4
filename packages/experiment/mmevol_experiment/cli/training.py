"""`mmevol labels`, `tokens`, `chat`, `serve` and `export-checkpoint`."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from mmevol_core.config import fit
from mmevol_core.errors import UserError
from mmevol_core.files import read_json


class Template(StrEnum):
    """Chat templates."""

    qwen2 = "qwen2"
    llama3 = "llama3"


class TrainingStage(StrEnum):
    """Training stages."""

    pretrain = "pretrain"
    finetune = "finetune"


class Mode(StrEnum):
    """Rules of supervision."""

    answer = "answer"
    mmevol = "mmevol"


class Engine(StrEnum):
    """Servers."""

    auto = "auto"
    transformers = "transformers"
    vllm = "vllm"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(labels)
    app.command()(tokens)
    app.command()(chat)
    app.command()(serve)
    app.command()(export_checkpoint)


def labels(
    data: Annotated[Path, typer.Option(help="LLaVA JSON")],
    template: Annotated[Template, typer.Option()] = Template.qwen2,
    stage: Annotated[TrainingStage, typer.Option()] = TrainingStage.finetune,
    mode: Annotated[Mode, typer.Option(help="answer: answer and end token; mmevol: the reference")] = Mode.answer,
    tokenizer: Annotated[Path | None, typer.Option(help="tokenizer.json; default: the stand-in's")] = None,
    max_length: Annotated[int | None, typer.Option(min=1, help="tokens kept of a row")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one line a row with character spans")] = False,
) -> None:
    """Show what would be trained on, row by row: supervised text in green."""
    from mmevol_train.labels import colour, label_rows

    console = Console()
    for row in label_rows(data, template.value, stage.value, mode.value, tokenizer, max_length):
        if as_json:
            sys.stdout.buffer.write(orjson.dumps(row.as_dict(), option=orjson.OPT_APPEND_NEWLINE))
        else:
            console.print(colour(row))
    sys.stdout.buffer.flush()


def tokens(
    sizes: Annotated[Path, typer.Option(help="JSON list of [width, height] in pixels")],
    backbone: Annotated[str, typer.Option(help="file of conf/backbone")] = "qwen2_7b",
) -> None:
    """Image tokens from sizes alone, without a model."""
    from mmevol_experiment.compose import compose
    from mmevol_train.anyres import tokens_for
    from mmevol_train.parts import BackboneConfig

    listed = read_json(sizes)
    if not isinstance(listed, list):
        raise UserError(f"{sizes} must hold a JSON list of [width, height]")
    values = compose([f"backbone={backbone}", "name=tokens"])["backbone"]
    rows = tokens_for(listed, fit(BackboneConfig, values, "backbone"))
    sys.stdout.buffer.write(orjson.dumps(rows, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def chat(
    checkpoint: Annotated[Path, typer.Argument(help="folder that training wrote")],
    image: Annotated[Path | None, typer.Option(help="picture that the first question is about")] = None,
    question: Annotated[str | None, typer.Option(help="ask this and stop; none: ask in the terminal")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="longest answer")] = 512,
) -> None:
    """Talk with a checkpoint about a picture; an empty line ends it."""
    from mmevol_train.chat import Conversation

    conversation = Conversation(checkpoint, image, max_new_tokens)

    def say(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    if question is not None:
        conversation.ask(question, say)
        say("\n")
        return
    while asked := _read_line():
        try:
            conversation.ask(asked, say)
        except UserError as error:
            typer.echo(f"mmevol: {error}", err=True)
        else:
            say("\n")


def _read_line() -> str:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def serve(
    checkpoint: Annotated[Path, typer.Argument(help="folder that training wrote")],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    engine: Annotated[Engine, typer.Option(help="auto: vllm beside a GPU, else transformers")] = Engine.auto,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda:0")] = "auto",
) -> None:
    """Serve a checkpoint with the OpenAI protocol: http://HOST:PORT/v1/chat/completions, model: the folder."""
    from mmevol_train.serve import command

    words = command(checkpoint, host, port, engine.value, device)
    typer.echo(f"http://{host}:{port}/v1  model: {checkpoint.resolve()}", err=True)
    # nothing is looked up: what is served lies in the folder
    os.execve(words[0], words, {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})


def export_checkpoint(
    run: Annotated[Path, typer.Argument(help="folder of a training stage that has not finished")],
    to: Annotated[Path, typer.Option(help="folder to write")],
    step: Annotated[str, typer.Option(help="a kept step, last, or best (lowest held-out loss)")] = "last",
) -> None:
    """Write a kept checkpoint of an interrupted training stage as a plain Hugging Face folder."""
    from mmevol_train.export import export_checkpoint as export

    typer.echo(f"step {export(run, to, step)}: {to}")
