"""The rules of ARCHITECTURE.md, read from the source."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from mmevol_experiment.stages import FAMILIES, STAGES, load

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "mmevol_core": set(),
    "mmevol_dataengine": {"mmevol_core"},
    "mmevol_train": {"mmevol_core"},
    "mmevol_eval": {"mmevol_core"},
    "mmevol_experiment": {"mmevol_core", "mmevol_dataengine", "mmevol_train", "mmevol_eval"},
}
SOURCES = sorted(path for path in ROOT.glob("packages/*/mmevol_*/**/*.py"))
# The worker is a stage run's own command line: the runner starts it as a process. So is the driver, and it sets
# what the official package reads.
READ_THE_ENVIRONMENT = (
    "mmevol_experiment/__main__.py",
    "mmevol_experiment/worker.py",
    "mmevol_experiment/cli/",
    "mmevol_eval/backends/inside/driver.py",
)
PRINT = ("mmevol_experiment/__main__.py", "mmevol_experiment/cli/")
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 300, 60
MACHINE_PATH = re.compile(rb"(?<![\w.~*-])/(?:home|mnt|work|root)/[\w.-]")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def inside(path: Path) -> str:
    """Path below packages/NAME, as in an import: mmevol_core/files.py."""
    return path.relative_to(ROOT / "packages").as_posix().split("/", 1)[1]


def imports(path: Path) -> set[str]:
    """Top-level packages that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{inside(path)}:{node.lineno} imports relatively"
            names.add((node.module or "").split(".")[0])
    return names


def calls_of(path: Path, name: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def environment_reads(module: ast.Module) -> list[int]:
    """Lines with os.environ, os.getenv, or either of them imported by name."""
    lines = [
        node.lineno
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "environb", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]
    return lines + [
        node.lineno
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        and node.module == "os"
        and {alias.name for alias in node.names} & {"environ", "environb", "getenv"}
    ]


def broad_handlers(module: ast.Module) -> list[int]:
    """Lines of handlers that catch everything, raised again or not."""
    return [
        node.lineno
        for node in ast.walk(module)
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or {leaf.id for leaf in ast.walk(node.type) if isinstance(leaf, ast.Name)} & {"Exception", "BaseException"}
        )
    ]


def long_functions(module: ast.Module) -> list[str]:
    """Functions of more than LINES_OF_A_FUNCTION lines."""
    return [
        f"{node.name}: {length}"
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > LINES_OF_A_FUNCTION
    ]


def test_every_package_is_under_the_rules():
    assert {inside(path).split("/")[0] for path in SOURCES} == set(MAY_IMPORT)
    assert len(SOURCES) > 50


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package):
    allowed = MAY_IMPORT[package] | {package}
    wrong = {
        inside(path): sorted(bad)
        for path in SOURCES
        if inside(path).startswith(f"{package}/")
        and (bad := {name for name in imports(path) if name.startswith("mmevol_")} - allowed)
    }
    assert not wrong


def test_core_needs_neither_torch_nor_transformers():
    heavy = {"torch", "transformers", "accelerate", "deepspeed", "peft"}
    assert not {inside(p): imports(p) & heavy for p in SOURCES if "mmevol_core" in inside(p) and imports(p) & heavy}


def test_only_the_command_line_reads_the_environment():
    wrong = {
        inside(path): lines
        for path in SOURCES
        if not inside(path).startswith(READ_THE_ENVIRONMENT) and (lines := environment_reads(tree(path)))
    }
    assert not wrong


def test_only_the_command_line_prints():
    wrong = {
        inside(path): lines
        for path in SOURCES
        if not inside(path).startswith(PRINT) and (lines := calls_of(path, "print"))
    }
    assert not wrong


def test_nothing_catches_everything():
    assert not {inside(path): lines for path in SOURCES if (lines := broad_handlers(tree(path)))}


def test_files_and_functions_are_short():
    long = {inside(path): lines for path in SOURCES if (lines := path.read_bytes().count(b"\n")) > LINES_OF_A_FILE}
    assert not long
    assert not {inside(path): names for path in SOURCES if (names := long_functions(tree(path)))}


def test_the_rules_see_what_they_forbid():
    assert long_functions(ast.parse("def f():\n" + "    pass\n" * LINES_OF_A_FUNCTION)) == ["f: 61"]
    module = ast.parse(
        "import os\nfrom os import getenv\nx = os.environ['A']\n"
        "try:\n    pass\nexcept (ValueError, Exception):\n    pass\ntry:\n    pass\nexcept:\n    pass\n"
    )
    assert sorted(environment_reads(module)) == [2, 3]
    assert broad_handlers(module) == [6, 10]
    assert MACHINE_PATH.search(b'open("/home/someone/data")')


def test_the_table_of_stages_is_the_one_in_the_architecture_page():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`(?: \(per arm\))? \| `(mmevol_[\w.]+)` \|", page, re.M)
    assert dict(rows) == STAGES


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_module_exposes_its_stage(name):
    stage = load(name)
    assert callable(stage.run)
    assert stage.version
    assert not set(stage.needs) & set(stage.accepts)


def test_every_stage_but_the_report_belongs_to_one_family():
    members = [name for family, names in FAMILIES.items() if family != "all" for name in names]
    assert sorted([*members, "report"]) == sorted(STAGES)


@pytest.mark.parametrize("name", ["curation", "evolve", "mixture", "pretrain", "finetune"])
def test_no_stage_that_makes_or_trains_on_data_can_be_given_test_images(name):
    stage = load(name)
    roles = {*stage.needs, *stage.accepts}
    assert not {role for role in roles if role.startswith(("held_out", "benchmarks"))}


def test_no_tracked_file_names_a_machine_path():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if names.returncode:
        pytest.skip("not a git checkout")
    wrong = {}
    for name in names.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in {".safetensors", ".png", ".jpg"}:
            found = MACHINE_PATH.findall(path.read_bytes())
            if found and path != Path(__file__).resolve():
                wrong[name] = found[:3]
    assert not wrong
