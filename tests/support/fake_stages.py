"""Small real stages for tests of the runner: they run in real worker processes."""

import time
from pathlib import Path

from mmevol_core.config import Config
from mmevol_core.errors import UserError
from mmevol_core.progress import Progress
from mmevol_core.stage import Stage, StageResult


class WorkConfig(Config):
    value: int = 0
    steps: int = 1
    step_s: float = 0.0
    fail: str = ""  # "", user, crash, hang
    log: str  # every real step appends a line to LOG.txt (a file that a configuration names counts as its input)


def run(config, inputs, out_dir):
    state = out_dir / "state.txt"
    done = len(state.read_text().split()) if state.exists() else 0
    with Progress(out_dir, "work", config.steps, "steps") as progress:
        for step in range(done, config.steps):
            time.sleep(config.step_s)
            for path in (state, Path(f"{config.log}.txt")):
                with path.open("a") as file:
                    file.write(f"{config.value}:{step}\n")
            progress.advance()
    if config.fail == "user":
        raise UserError("the input is bad; fix it", status=3)
    if config.fail == "crash":
        raise ValueError("boom")
    total = config.value + sum(int(path.read_text()) for path in inputs.values())
    (out_dir / "out.txt").write_text(str(total))
    return StageResult({"out": out_dir / "out.txt"}, {"total": total})


STAGE = Stage(config=WorkConfig, needs=(), run=run, version="1", accepts=("left", "right"))
