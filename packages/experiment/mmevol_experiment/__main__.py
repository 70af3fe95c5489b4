"""The command line: `mmevol COMMAND ...`. It alone reads the environment and prints."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import typer

from mmevol_core import secrets
from mmevol_core.errors import UserError
from mmevol_experiment.cli import benchmarks, data, evaluation, evolve, experiment, teacher, training
from mmevol_experiment.room import HOW, is_out_of_room

INTERRUPTED = 130
# typer carries its own click and shows the base of its usage errors only through this class
USAGE_ERROR: type[typer.BadParameter] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

app = typer.Typer(
    name="mmevol",
    help="Evolve image-text instructions, train on them, and say what they were worth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for commands in (experiment, data, evolve, training, evaluation, benchmarks, teacher):
    commands.add_to(app)


def main() -> None:
    """Run a command; exit with 0 done, 2 a person can fix it, 3 nothing usable, 130 interrupted and resumable."""
    secrets.register(os.environ)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status = app(prog_name="mmevol", standalone_mode=False)
    except UserError as error:
        sys.exit(_say(str(error), error.status))
    except USAGE_ERROR as error:
        if len(sys.argv) == 1:
            error.show()  # no command at all: what there is
            sys.exit(2)
        sys.exit(_say(_usage(error), 2))
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has seen enough
        sys.exit(0)
    except OSError as error:
        if is_out_of_room(error):
            sys.exit(_say(f"no space left{f' for {error.filename}' if error.filename else ''}; {HOW}", 2))
        if error.filename is None:
            raise
        sys.exit(_say(f"{error.filename}: {error.strerror}", 2))  # a folder instead of a file, no permission
    if status == INTERRUPTED:  # typer turns Ctrl-C inside a command into this status
        sys.exit(_say("interrupted; the same command continues", INTERRUPTED))
    sys.exit(status if isinstance(status, int) else 0)


def _usage(error: typer.BadParameter) -> str:
    """What is wrong with the words typed, and where the right ones are."""
    text = error.format_message().replace("Value error, ", "").rstrip(".")
    command = error.ctx.command_path if error.ctx else "mmevol"
    return f"{text[0].lower()}{text[1:]} ({command} --help says more)"


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str, status: int) -> int:
    print(f"mmevol: {' '.join(text.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
