"""A stage that needs an input."""

from support.fake_stages import WorkConfig, run

from mmevol_core.stage import Stage

STAGE = Stage(config=WorkConfig, needs=("left",), run=run, version="1")
