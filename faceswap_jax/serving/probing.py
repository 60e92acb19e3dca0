"""A program that looks through a clip without decoding it, with little memory and time.

Usage: probing.py PATH READER LIMITS. It imports nothing of this project, so that it starts at once.
"""

import json
import resource
import sys

import av

MEMORY = 2 << 30
SECONDS = 30

LEAST = 0.9
"""Of the length that its head promises, what a clip must have."""


def main(path: str, reader: str, limits: str) -> None:
    """Prints what was found as JSON; fails if the clip cannot be opened."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    print(json.dumps(look(path, reader, **json.loads(limits))))


def look(path: str, reader: str, seconds: float, frames: int) -> dict[str, int | bool]:
    """What can be told of a clip: pixels of a frame, if these are deep, frames, whether it is too long, or cut off.

    Args:
        path: of the clip.
        reader: FFmpeg's name of the one that reads it; it is not guessed.
        seconds: longest that any stream may last.
        frames: most packets of the video.
    """
    with av.open(
        f"file:{path}",
        format=reader,
        container_options={"protocol_whitelist": "file"},
        metadata_errors="replace",
    ) as container:
        attached = av.stream.Disposition.attached_pic
        videos = [s for s in container.streams.video if not s.disposition & attached]
        if not videos or videos[0].codec_context is None:
            nothing = {"pixels": 0, "deep": False, "frames": 0}
            return nothing | {"too_long": False, "cut_off": False}
        context = videos[0].codec_context
        parts = context.format.components if context.format else ()
        told = {
            "pixels": context.width * context.height,
            "deep": any(part.bits > 8 for part in parts),
            **count(container, videos[0], seconds, frames),
        }
        # Where Matroska was cut off it seems to end, but its head tells a length.
        promised = container.duration if reader == "matroska" else None
        end = told.pop("end")
        return told | {"cut_off": told["cut_off"] or end < LEAST * (promised or 0) / av.time_base}


def count(container, video, seconds: float, frames: int) -> dict[str, int | float | bool]:
    """Reads packets, which tell how long a clip is whatever its head says, until they are too many."""
    found, too_long, cut_off = 0, False, False
    first, end = float("inf"), 0.0
    try:
        for packet in container.demux():
            found += packet.stream is video and packet.size > 0
            cut_off |= packet.is_corrupt
            if packet.pts is not None:
                time = float(packet.pts * packet.time_base)
                first = min(first, time)
                end = max(end, time + float((packet.duration or 0) * packet.time_base))
            too_long = found > frames or end - first > seconds
            if too_long:
                break
    except (av.error.FFmpegError, IndexError):
        cut_off = True
    return {"frames": found, "too_long": too_long, "cut_off": cut_off, "end": end}


if __name__ == "__main__":
    main(*sys.argv[1:])
