"""A run of two fake stages as a process of its own, to be killed by tests: OUTPUTS LOG STEPS STEP_S."""

import io
import os
import sys
from pathlib import Path

from rich.console import Console

from mmevol_experiment.display import Lines
from mmevol_experiment.graph import Node
from mmevol_experiment.plan import plan
from mmevol_experiment.runner import run


def nodes(log, steps=1, step_s=0.0, **last):
    work = {"log": str(log), "steps": steps, "step_s": step_s}
    module = "support.fake_stages"
    return (
        Node("a", "work", module, {"value": 1, **work}),
        Node("b", "work", module, {"value": 2, **work}),
        Node("c", "work", module, {"value": 3, "log": str(log), **last}, {"left": ("a", "out"), "right": ("b", "out")}),
    )


def execute(outputs, graph, at_once=2):
    jobs = plan(graph, Path(outputs))
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    said = io.StringIO()
    run(jobs, at_once=at_once, environment=environment, display=Lines(Console(file=said)))
    return jobs, said.getvalue()


if __name__ == "__main__":
    outputs, log, steps, step_s = sys.argv[1:]
    execute(outputs, nodes(log, int(steps), float(step_s)))
