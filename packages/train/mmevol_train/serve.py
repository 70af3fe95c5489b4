"""An OpenAI-compatible server for a checkpoint: vLLM where it is installed beside a GPU, else transformers' own.

Both read the checkpoint's folder as it is; nothing is converted, and the chat template is the one it was trained with.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from mmevol_core.errors import UserError

Engine = Literal["auto", "transformers", "vllm"]
NEEDED = ("fastapi", "uvicorn", "openai")  # by transformers' server


def command(checkpoint: Path, host: str, port: int, engine: Engine = "auto", device: str = "auto") -> list[str]:
    """The process that serves `checkpoint`; requests name the folder as their model.

    Raises:
        UserError: when the folder is no checkpoint, or the engine is not installed.
    """
    for name in ("config.json", "processor_config.json"):
        if not (checkpoint / name).is_file():
            raise UserError(f"no checkpoint at {checkpoint}: {name} is missing; give the folder that training wrote")
    folder = str(checkpoint.resolve())
    if engine == "vllm" or (engine == "auto" and device != "cpu" and find_spec("vllm")):
        if not find_spec("vllm"):
            raise UserError("vllm is not installed: pip install vllm, or use --engine transformers")
        return [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", folder, "--host", host, "--port", str(port)]
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        raise UserError(f"the server needs {', '.join(lacking)}: pip install 'mmevol[serve]'")
    module = "from transformers.cli.transformers import main; main()"
    return [
        sys.executable, "-c", module, "serve", folder, "--host", host, "--port", str(port), "--device", device,
    ]  # fmt: skip
