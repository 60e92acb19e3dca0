"""How far a run is, for others to read: `progress.json` in its folder."""

import json
import socket
import time
from pathlib import Path

from faceswap_jax.files import write_json

FILE = "progress.json"


def note(workdir: Path, state: str, step: int, last: int, **more: object) -> None:
    """Writes how far a run is.

    Args:
        workdir: folder of the run.
        state: "running", "finished", "interrupted" or "stopped".
        step: number of steps done.
        last: number of steps of the whole run.
        more: what else is known, such as the phase or the reason of the end.
    """
    about = {
        "state": state,
        "step": step,
        "of": last,
        "host": socket.gethostname(),
        "time": time.time(),
    }
    write_json(workdir / FILE, about | more)


def read(workdir: Path) -> dict:
    """The newest note; empty if there is none, or if it is damaged: the run itself does not need it."""
    try:
        return json.loads((workdir / FILE).read_text())
    except (FileNotFoundError, ValueError):
        return {}


def duration(seconds: float) -> str:
    """Seconds for people."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s"
