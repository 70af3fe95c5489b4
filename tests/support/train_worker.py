"""One rank of a distributed run, started by torchrun: python -m support.train_worker JOB.json"""

import json
import sys
from pathlib import Path

from mmevol_train import finetune
from mmevol_train.config import FinetuneConfig

if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text())
    found = finetune.run(
        FinetuneConfig.model_validate(job["config"]),
        {role: Path(path) for role, path in job["inputs"].items()},
        Path(job["out"]),
    )
    if found.metrics.get("weights"):
        (Path(job["out"]) / "result.json").write_text(json.dumps(found.metrics))
