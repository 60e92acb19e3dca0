"""The `faceswap` command: finds what the user names, and turns what goes wrong into a sentence and an exit code."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from types import FrameType

from absl import logging

from faceswap_jax.commands import COMMANDS, GROUPS
from faceswap_jax.commands.base import call
from faceswap_jax.errors import InputError, UserError
from faceswap_jax.training import cache

INTERNAL_ERROR = 70  # not Python's 1, so that a launcher may try again
INTERRUPTED = 130  # as shells say it of Ctrl-C
PIPE_CLOSED = 141  # and of a reader that has gone, such as `head`

AGAIN = 0.05
"""Seconds after which a signal is sent again that came when nothing could be raised."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    0: done. 1: the training diverged, a verified data set is broken, or all trials of a sweep failed. 2: the input was
    at fault. 3: the processes of a job cannot go on together. 70: an error of this program. 130: Ctrl-C. 141: nobody
    reads what is printed any more.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    # Silence the libraries: Orbax logs in pages what it raises as well.
    logging.set_verbosity(logging.FATAL)
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    try:
        with terminated_cleanly():
            code = guarded(arguments)
    except Terminated:
        # Whoever sent the signal sees that it was obeyed.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    if code and (in_job() or compiling()):
        sys.stderr.flush()
        os._exit(code)
    return code


class Terminated(BaseException):
    """SIGTERM, on its way through all that has to be cleaned up."""


@contextmanager
def terminated_cleanly() -> Iterator[None]:
    """Raises where Ctrl-C or SIGTERM come, so that nothing half-written stays. Training does more, by itself."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    in_charge = threading.current_thread() is threading.main_thread()
    # Whoever has other wishes for a signal keeps them.
    if not in_charge or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    usual, sys.unraisablehook = sys.unraisablehook, _signal_again
    try:
        yield
    finally:
        sys.unraisablehook = usual
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _signal_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Sends a signal again whose exception Python has dropped, as it does where garbage is collected."""
    numbers = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}
    if dropped.exc_type not in numbers:
        sys.__unraisablehook__(dropped)
        return
    # To the main thread, which it wakes
    main = threading.main_thread().ident
    threading.Timer(AGAIN, signal.pthread_kill, [main, numbers[dropped.exc_type]]).start()


def in_job() -> bool:
    """Whether this is one of several processes: at its end JAX would wait for the others, which wait for this one."""
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


def compiling() -> bool:
    """Whether a program is still being compiled, for minutes perhaps: at its end Python would wait for it."""
    return any(thread.name.startswith(cache.COMPILING) for thread in threading.enumerate())


def guarded(arguments: Sequence[str]) -> int:
    """Runs a command; what goes wrong becomes a message and an exit code."""
    try:
        code = dispatch(arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        print("faceswap:", " ".join(str(error).splitlines()), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("faceswap: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more when it ends; let that succeed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception:
        traceback.print_exc()
        return INTERNAL_ERROR


def dispatch(arguments: Sequence[str]) -> int:
    """Runs the command that comes first, with the other arguments."""
    name, *others = arguments or ["--help"]
    if name in ("--help", "-h", "help"):
        print(overview())
        return 0
    if name == "--version":
        print(f"faceswap {version('faceswap-jax')}, JAX {version('jax')}")
        return 0
    if name not in COMMANDS:
        raise InputError(f"There is no command '{name}'; choose one of {', '.join(COMMANDS)}.")
    # A system of the user's own is found where the user stands, as with `python -m`.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    # Before JAX is imported, which reads the environment.
    cache.use_cache()
    return call(COMMANDS[name], others)


def overview() -> str:
    """All commands, a line each."""
    lines = ["usage: faceswap COMMAND ..."]
    for title, group in GROUPS.items():
        lines += ["", title]
        lines += [f"  {command.name:<12}{command.summary}" for command in group]
    lines += [
        "",
        "'faceswap COMMAND --help' explains the flags of one, 'faceswap --version' says which this is.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
