"""What the pages tell a user to type exists: commands, options, overrides, make targets, files, tests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from enum import Enum
from functools import cache
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from mmevol_eval.benchmark import BenchmarkSettings
from mmevol_eval.settings import EvaluateConfig
from mmevol_experiment.__main__ import app
from mmevol_experiment.compose import choices, conf_folder
from mmevol_experiment.experiment import ExperimentConfig
from mmevol_experiment.stages import STAGES, expand, load
from mmevol_train.config import FinetuneConfig, PretrainConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PLACEHOLDER = re.compile(r"\.\.\.|[A-Z][A-Z_]*(=[A-Z]+)?")  # FOLDER, KEY=VALUE: what a reader puts in
FILES = re.compile(
    r"(?<![\w/])((?:tests|benchmarks|packages|conf|docs|\.ci)/[\w./-]+\.(?:py|yaml|json|md|png))((?:::\w+)*)"
)
SECTIONS = {  # of the configuration -> the stage that reads it
    "data": "seed", "curation": "curation", "evolve": "evolve", "pretrain": "pretrain", "finetune": "finetune",
    "benchmarks": "benchmarks", "evaluate": "evaluate", "report": "report",
}  # fmt: skip
INSIDE = {"recipe": "evolve", "teacher": "evolve", "backbone": "finetune", "engine": "finetune", "tracking": "finetune"}


def code(page: Path) -> Iterator[str]:
    """Lines of code blocks, continued ones joined, and inline code."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"```\w*\n(.*?)```", text, re.S):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))


def typed(page: Path, program: str) -> list[list[str]]:
    """The words after `program` of every command of a page."""
    found = []
    for line in code(page):
        for command in re.split(r"; | && ", line.strip().removeprefix(".venv/bin/")):
            if re.match(rf"{program}( |$)", command):
                words = shlex.split(command, comments=True)[1:]
                found.append(list(takewhile(lambda word: word not in ("<", ">", "|"), words)))
    return found


def problem(words: list[str]) -> str:
    """What is wrong with the words of an mmevol command; "" for nothing."""
    command: Any = typer.main.get_command(app)
    words = list(words)
    while hasattr(command, "commands"):
        if not words or PLACEHOLDER.fullmatch(words[0]) or words[0] == "--help":
            return ""
        names = words.pop(0).split("|")  # `data check|import`
        if unknown := [name for name in names if name not in command.commands]:
            return f"no command {unknown[0]!r}"
        command = command.commands[names[0]]
    return _options(command, words)


def _options(command: Any, words: list[str]) -> str:
    """The first option that the command lacks; then what is wrong with the words that are no options."""
    options = {name: param for param in command.params for name in param.opts if name.startswith("-")}
    plain = []
    while words:
        word = words.pop(0)
        name, _, value = word.partition("=")
        if not word.startswith("-"):
            plain.append(word)
        elif name not in options:
            return f"no option {name}"
        elif not options[name].is_flag and _wrong_choice(options[name], value or (words.pop(0) if words else "")):
            return f"{name} has no such choice"
    return _arguments([param for param in command.params if param not in options.values()], plain)


def _arguments(arguments: list[Any], words: list[str]) -> str:
    """The first word that no argument takes: too many, no such choice, or an override that cannot be."""
    single = [argument for argument in arguments if argument.nargs == 1]
    several = len(single) < len(arguments)
    for place, word in enumerate(words):
        if word == "...":
            single = single[:place]  # the rest is left to the reader
        elif place < len(single):
            if _wrong_choice(single[place], word):
                return f"{single[place].name} has no choice {word}"
        elif not several:
            return f"one argument too many: {word}"
        elif arguments[-1].name == "overrides":
            wrong = override(word) if "=" in word or word.startswith("~") else f"{word!r} is no override"
            if wrong:
                return wrong
    return ""


def _wrong_choice(param: Any, value: str) -> bool:
    kind = param.type_descriptor.annotation
    if not (isinstance(kind, type) and issubclass(kind, Enum)) or PLACEHOLDER.fullmatch(value):
        return False
    return not set(value.split("|")) <= {member.value for member in kind}


def override(text: str) -> str:
    """What is wrong with GROUP=FILE, GROUP@PLACE=FILE, KEY=VALUE or ~KEY; "" for nothing."""
    key, _, value = text.lstrip("+~").partition("=")
    group, _, place = key.partition("@")
    if PLACEHOLDER.fullmatch(group.split(".")[0]):
        return ""
    if "." not in group and (conf_folder() / group).is_dir():
        files = [name for name in value.split(",") if not PLACEHOLDER.fullmatch(name)]
        wrong = sorted(set(files) - set(choices(group)) - {"null"})
        return f"no file {wrong[0]!r} in conf/{group}" if wrong else unknown_key(place) if place else ""
    if key == "stages":
        return "" if expand(value.strip("[]").split(",")) else "no stage"
    return unknown_key(key)


def unknown_key(key: str) -> str:
    """ "" when a dotted key can be set: each part is a field of the schema that the parts before it lead to."""
    section, *parts = key.split(".")
    if section == "blend":
        where: Any = schema("mixture").model_fields["blend"].annotation
    elif section == "mixtures":
        where, parts = schema("mixture"), parts[1:]
    elif section == "benchmark":
        where, parts = {"settings": BenchmarkSettings}, parts[1:]
    elif section in INSIDE and section in schema(INSIDE[section]).model_fields:
        where = recipe() if section == "recipe" else schema(INSIDE[section]).model_fields[section].annotation
    elif section in SECTIONS:
        where = schema(SECTIONS[section])
    elif section in ExperimentConfig.model_fields:
        where = ExperimentConfig.model_fields[section].annotation
    else:
        return f"no section {section!r} in conf/config.yaml"
    for part in parts:
        where = _below(where, part)
        if where is None:
            return f"no key {key!r}: {part!r} is not known there"
    return ""


def _below(where: Any, name: str) -> Any:
    """The type of a field, of a value of a dict, or None."""
    for kind in [where, *get_args(where)]:
        if isinstance(kind, dict) and name in kind:
            return kind[name]
        if isinstance(kind, type) and issubclass(kind, BaseModel) and name in kind.model_fields:
            return kind.model_fields[name].annotation
        if getattr(kind, "__origin__", None) is dict:
            return get_args(kind)[1]
    return None


@cache
def schema(stage: str) -> type[BaseModel]:
    light = {"pretrain": PretrainConfig, "finetune": FinetuneConfig, "evaluate": EvaluateConfig}  # without torch
    return light[stage] if stage in light else load(stage).config


def recipe() -> Any:
    from mmevol_dataengine.recipes import find

    return find("mmevol").config


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_mmevol_command_of_a_page_exists_with_its_options_and_overrides(page):
    wrong = {" ".join(words): found for words in typed(page, "mmevol") if (found := problem(words))}
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_command_of_a_page_exists_with_its_experiment_and_overrides(page):
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, re.M))
    for target, *words in typed(page, "make"):
        assert target in targets
        for name, _, value in (word.partition("=") for word in words):
            if name == "conf" and not PLACEHOLDER.fullmatch(value):
                assert value in choices("experiment")
            elif name == "sweep":
                assert value in choices("sweep")
            elif name == "args" and target not in ("test", "test-slow"):
                wrong = [found for text in shlex.split(value) if (found := override(text))]
                assert not wrong, f"make {target} {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_a_page_names_exists_and_holds_the_test_named_with_it(page):
    for name, inside in FILES.findall("\n".join(code(page))):
        path = ROOT / name
        inner = any(ROOT.glob(f"packages/*/mmevol_*/{name}"))  # benchmarks/__init__.py of a package
        assert path.is_file() or inner or re.search(r"/[A-Z]+\.", name), f"{page.name} names {name}"
        for test in filter(None, inside.split("::")):
            assert f"def {test}(" in path.read_text(encoding="utf-8"), f"{page.name} names {name}::{test}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_selection_of_tests_a_page_names_selects_some(page):
    for words in typed(page, "pytest"):
        files = [ROOT / word for word in words if word.startswith("tests/")]
        files = [file for path in files for file in ([path] if path.is_file() else sorted(path.rglob("test_*.py")))]
        text = "\n".join(path.read_text(encoding="utf-8") for path in files)
        for option, value in pairwise(words):
            if option == "-k" and "not " not in value:
                for word in re.split(r" or | and ", value):
                    assert word.lower() in text.lower(), f"{page.name}: -k {value!r} finds no {word!r} in {files}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_word_given_to_a_benchmark_script_is_one_it_knows(page):
    for words in typed(page, "python"):
        if words and words[0].startswith("benchmarks/"):
            source = (ROOT / words[0]).read_text(encoding="utf-8")
            for word in (word.strip("[]") for word in words[1:]):
                assert word.lstrip("-") in source, f"{page.name}: {words[0]} knows no {word}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("data chek images", "no command 'chek'"),
        ("data check images --strikt", "no option --strikt"),
        ("data import llava records --images x", "no choice llava"),
        ("data export a b --as lava", "--as has no such choice"),
        ("run experiment=quickstrat", "no file 'quickstrat' in conf/experiment"),
        ("run teacher.concurency=3", "'concurency' is not known there"),
        ("run +teacher@evolv.judge=openai", "no section 'evolv'"),
        ("run mixtures.seed.blend.sources.x.wieght=2", "'wieght' is not known there"),
        ("run benchmark.mme.settings.limt=2", "'limt' is not known there"),
        ("run quickstart", "'quickstart' is no override"),
        ("data show a b c", "one argument too many"),
    ],
)
def test_a_command_that_does_not_exist_is_found(words, said):
    assert said in problem(words.split())


def test_every_stage_has_a_section_here():
    assert set(SECTIONS.values()) | {"mixture"} == set(STAGES)


def test_the_training_page_names_every_module():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    rows = [line for line in page.split("## Labels")[0].splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+\.py)`", row.split("|")[1])}
    folder = ROOT / "packages" / "train" / "mmevol_train"
    assert named == {path.name for path in folder.glob("*.py")} - {"__init__.py"}
