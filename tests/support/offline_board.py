"""What W&B has kept of a run without a network."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = (
    2**15,
    7,
)  # bytes; LevelDB's log format, in which a header has a checksum, the length and the kind


def records(workdir: Path, kind: str) -> Iterator[object]:
    """Its records of a kind, such as "history" or "run", start after start."""
    for path in sorted(
        (workdir / "wandb").glob("offline-run-*/*.wandb"), key=lambda p: p.stat().st_mtime
    ):
        data, place, parts = path.read_bytes(), HEADER, []
        while place + HEADER <= len(data):
            if BLOCK - place % BLOCK < HEADER:
                place += BLOCK - place % BLOCK
                continue
            length, position = struct.unpack("<HB", data[place + 4 : place + HEADER])
            parts.append(data[place + HEADER : place + HEADER + length])
            place += HEADER + length
            if position in (1, 4):  # all of it, or its end
                record = wandb_internal_pb2.Record()
                record.ParseFromString(b"".join(parts))
                parts = []
                if record.WhichOneof("record_type") == kind:
                    yield getattr(record, kind)


def history(workdir: Path) -> dict[int, dict]:
    """What was logged, by step; parts of a value are named like "preview/path"."""
    found = {}
    for record in records(workdir, "history"):
        row = {
            "/".join(item.nested_key) or item.key: json.loads(item.value_json)
            for item in record.item
        }
        found.setdefault(row["_step"], {}).update({n: v for n, v in row.items() if n[0] != "_"})
    return found
