"""The models that rewrite and judge: where they answer, and the scripted stand-in that a run starts for itself."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import uvloop
from pydantic import Field, model_validator

from mmevol_core.chat import Asker, Endpoint, connect, system, user
from mmevol_core.errors import UserError
from mmevol_core.images import ImagePolicy, ImageStore
from mmevol_core.journal import Journal
from mmevol_core.sample import Sample
from mmevol_core.secrets import secret

JOURNAL = "journal.sqlite"
START_S = 60.0  # a machine under load imports slowly


class TeacherConfig(Endpoint):
    """An OpenAI-compatible endpoint, or the scripted teacher, which the stage starts and stops itself."""

    kind: Literal["endpoint", "scripted"] = "endpoint"
    base_url: str = Field(default="", exclude=True)  # scripted: found out when it starts
    model: str = ""
    sees_image: bool = True  # send the image with every prompt
    image: ImagePolicy = ImagePolicy()
    scripted_seed: int = 0  # scripted: what it says
    mistakes: float = 0.15  # scripted: share of items or answers that it gets wrong on purpose

    @model_validator(mode="after")
    def _reachable(self) -> TeacherConfig:
        if self.kind == "endpoint" and not (self.base_url and self.model):
            raise ValueError("an endpoint needs base_url and model")
        if self.kind == "scripted" and self.base_url:
            raise ValueError("the scripted teacher has no base_url; choose teacher=vllm to ask a server")
        return self


class Voice:
    """A chat endpoint as the recipe sees it: a prompt about a sample in, text out."""

    def __init__(self, chat: Asker, images: ImageStore, config: TeacherConfig) -> None:
        self.name = config.model or config.kind
        self.sees_image = config.sees_image
        self.chat = chat
        self._images = images

    async def ask(
        self, system_text: str, prompt: str, sample: Sample | None, salt: int, schema: Mapping[str, Any] | None = None
    ) -> str:
        """See `recipes.speaker.Speaker`."""
        pictures = [await self._images.get(name) for name in sample.images] if sample and self.sees_image else []
        reply = await self.chat.ask([system(system_text), user(*pictures, prompt)], schema=schema, salt=salt)
        return reply.text


def speak(
    teacher: TeacherConfig,
    judge: TeacherConfig | None,
    journal: Journal,
    images: Path,
    out_dir: Path,
    work: Callable[[Voice, Voice], Awaitable[None]],
) -> None:
    """Run `work(author, critic)` while both can be asked; without a judge the teacher is its own critic.

    Scripted ones are started and stopped here, their logs lie in `out_dir`.
    """
    with ExitStack() as stack:
        writer = stack.enter_context(reachable(teacher, out_dir / "teacher"))
        marker = stack.enter_context(reachable(judge, out_dir / "judge")) if judge else None

        async def both() -> None:
            async with AsyncExitStack() as chats:

                async def voice(config: TeacherConfig, purpose: str) -> Voice:
                    key = secret(config.api_key_name, purpose) if config.api_key_name else None
                    chat = await chats.enter_async_context(connect(config, journal, key))
                    return Voice(chat, ImageStore(images, config.image), config)

                author = await voice(writer, "the teacher")
                await work(author, await voice(marker, "the judge") if marker else author)

        uvloop.run(both())


def open_journal(out_dir: Path, teacher: TeacherConfig | None, judge: TeacherConfig | None) -> Journal:
    """The stage run's journal, which also reads those of the stage's other runs: a preview, an edited recipe.

    Programs that stand in for a model are asked anew: the same request may mean another `scripted_seed`.
    """
    paid = all(one is None or one.kind == "endpoint" for one in (teacher, judge))
    return Journal(out_dir / JOURNAL, sorted(out_dir.parent.glob(f"*/{JOURNAL}")) if paid else ())


@contextmanager
def reachable(config: TeacherConfig, out_dir: Path) -> Iterator[TeacherConfig]:
    """The configuration with a base_url; the scripted teacher runs as long as the context, its log is kept."""
    if config.kind == "endpoint":
        yield config
        return
    out_dir.mkdir(parents=True, exist_ok=True)
    port_file = out_dir / "teacher_port.txt"
    port_file.unlink(missing_ok=True)
    arguments = ["--port", "0", "--port-file", str(port_file), "--seed", str(config.scripted_seed)]
    arguments += ["--log", str(out_dir / "teacher.jsonl"), "--mistakes", str(config.mistakes)]
    with (out_dir / "teacher_stderr.txt").open("wb") as errors:
        process = subprocess.Popen(  # its standard input is a pipe: when this process dies, it reads the end and stops
            [sys.executable, "-m", "mmevol_dataengine.scripted_teacher", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            port = _port(process, port_file, out_dir)
            yield config.model_copy(
                update={"base_url": f"http://127.0.0.1:{port}/v1", "model": config.model or "scripted"}
            )
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _port(process: subprocess.Popen[bytes], port_file: Path, out_dir: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError(f"the scripted teacher did not start; see {out_dir / 'teacher_stderr.txt'}")
        text = port_file.read_text() if port_file.exists() else ""
        if text.strip():
            return int(text)
        time.sleep(0.02)
    raise UserError(f"the scripted teacher was not ready within {START_S:.0f} s; see {out_dir / 'teacher_stderr.txt'}")
