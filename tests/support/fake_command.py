"""Stands in for srun, kubectl and others: writes down how it was called, then does what FAKE_<NAME> says.

FAKE_<NAME> is JSON: {"code": exit code, "print": text, "until_term": whether to wait for SIGTERM first}, or a list of
such, one per call, the last for all further ones.
"""

import json
import os
import signal
import sys
from pathlib import Path

name = Path(sys.argv[0]).name
log = Path(os.environ["FAKE_LOG"])
calls = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
told = json.loads(os.environ.get(f"FAKE_{name.upper().replace('-', '_')}", "{}"))
if isinstance(told, list):
    told = told[min(sum(c["name"] == name for c in calls), len(told) - 1)]

signal.signal(
    signal.SIGTERM,
    lambda *_: sys.exit(told.get("code", 0)) if told.get("until_term") else sys.exit(143),
)
if name == "sudo":
    os.execvp(sys.argv[1], sys.argv[1:])
text = sys.stdin.read() if name == "kubectl" else ""
call = {
    "name": name,
    "argv": sys.argv[1:],
    "env": dict(os.environ),
    "pid": os.getpid(),
    "stdin": text,
}
with log.open("a") as file:
    file.write(json.dumps(call) + "\n")

if name == "scancel":  # the tasks are told, and srun ends with them
    os.kill(next(c["pid"] for c in reversed(calls) if c["name"] == "srun"), signal.SIGTERM)
if told.get("print"):
    print(told["print"])
while told.get("until_term"):
    signal.pause()
sys.exit(told.get("code", 0))
