"""A kept checkpoint of an unfinished run as a plain Hugging Face folder: `mmevol export-checkpoint`."""

from __future__ import annotations

import shutil
from pathlib import Path

from mmevol_core.errors import UserError, unknown
from mmevol_core.files import read_json
from mmevol_core.tracking import TrackingConfig
from mmevol_train import checkpoint
from mmevol_train.launch import ORDER, spread
from mmevol_train.rank import STAGES


def export_checkpoint(run: Path, target: Path, which: str = "last") -> int:
    """Write the checkpoint of a stage run's folder to `target`, and return its step.

    The stage itself does it: told to stop at that step, it loads the checkpoint into its engine, takes no step, exports
    and has a fresh process compare. It needs as many processes as wrote the checkpoint.

    Args:
        run: folder of a training stage that has not finished, `outputs/stages/finetune/FINGERPRINT`.
        target: folder to write, whole or not at all.
        which: a step, `last`, or `best` (lowest held-out loss).

    Raises:
        UserError: when there is no such checkpoint, or `target` is there already.
    """
    if not (run / ORDER).is_file():
        raise UserError(f"{run} is no training stage in progress: {ORDER} is missing; a finished one has checkpoint/")
    if target.exists():
        raise UserError(f"{target} is there already; choose another folder")
    folder = _chosen(run / "training", which)
    step = checkpoint.step_of(folder)
    order = read_json(run / ORDER)
    schema, work = STAGES[order["stage"]]
    config = schema.model_validate(order["config"])
    aside = config.validation and config.validation.model_copy(update={"export": "last"})
    config = config.model_copy(
        update={"stop_at_step": step, "validation": aside, "tracking": TrackingConfig(wandb="off")}
    )
    scratch = target.with_name(f".{target.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "training").mkdir(parents=True)
    (scratch / "training" / folder.name).symlink_to(folder.resolve())
    spread(order["stage"], work, config, {role: Path(path) for role, path in order["inputs"].items()}, scratch)
    (scratch / "checkpoint").rename(target)
    shutil.rmtree(scratch)
    return step


def _chosen(root: Path, which: str) -> Path:
    found = {str(checkpoint.step_of(folder)): folder for folder in checkpoint.kept(root)}
    if not found:
        raise UserError(f"no whole checkpoint in {root} yet")
    if which == "last":
        return list(found.values())[-1]
    if which == "best":
        best = checkpoint.best(root)
        if best is None:
            raise UserError(f"no held-out loss was taken in {root}; set validation, or choose {', '.join(found)}")
        return best[0]
    if which not in found:
        raise unknown("checkpoint", which, [*found, "last", "best"], where=str(root))
    return found[which]
