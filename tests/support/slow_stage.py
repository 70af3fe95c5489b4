"""A stage that takes `step_s` seconds to save when it is told to end, and may take two."""

import signal
import time
from pathlib import Path

from support.fake_stages import WorkConfig

from mmevol_core.stage import Stage


def run(config, inputs, out_dir):
    def save(*_):
        time.sleep(config.step_s)
        (out_dir / "saved").touch()
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, save)
    Path(f"{config.log}.txt").write_text("begun")
    time.sleep(600)


STAGE = Stage(config=WorkConfig, needs=(), run=run, version="1", grace_s=2.0)
