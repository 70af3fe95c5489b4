"""Knowledge flows one way within the package, types included."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import mmevol_eval

ROOT = Path(mmevol_eval.__file__).parent


def known(path):
    """Modules of the package that a module names at its top or for the type checker."""
    top = ast.parse(path.read_text(encoding="utf-8")).body
    body = [*top, *(inner for node in top if isinstance(node, ast.If) for inner in node.body)]
    found = set()
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("mmevol_eval"):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_no_two_modules_know_each_other():
    modules = {
        f"mmevol_eval.{path.relative_to(ROOT).with_suffix('').as_posix()}".replace("/", ".").removesuffix(
            ".__init__"
        ): path
        for path in ROOT.rglob("*.py")
    }
    graph = {name: known(path) & modules.keys() - {name} for name, path in modules.items()}
    assert sum(map(len, graph.values())) > 100
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from error
    assert order.index("mmevol_eval.backends.known") < order.index("mmevol_eval.settings")
