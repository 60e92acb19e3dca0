"""A program that looks through a clip without decoding it, with little memory and time.

Usage: probing.py PATH READER LIMITS. It imports nothing of this project, so that it starts at once.
"""

import json
import resource
import sys

import av

MEMORY = 2 << 30
SECONDS = 30


def main(path: str, reader: str, limits: str) -> None:
    """Prints what was found as JSON; fails if the clip cannot be opened."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    print(json.dumps(look(path, reader, **json.loads(limits))))


def look(path: str, reader: str, seconds: float, frames: int) -> dict[str, int | bool]:
    """Pixels of a frame, packets of the video, and whether there is more than the limits say.

    Packets tell how long a clip is, whatever its header says.

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
            return {"pixels": 0, "frames": 0, "too_long": False}
        pixels = videos[0].codec_context.width * videos[0].codec_context.height

        found = 0
        first, last = float("inf"), float("-inf")
        for packet in _packets(container):
            found += packet.stream is videos[0] and packet.size > 0
            if packet.pts is not None:
                time = float(packet.pts * packet.time_base)
                first, last = min(first, time), max(last, time)
            if found > frames or last - first > seconds:
                return {"pixels": pixels, "frames": found, "too_long": True}
    return {"pixels": pixels, "frames": found, "too_long": False}


def _packets(container: av.container.InputContainer):
    """Packets, as far as the clip can be read: one that was cut off is used as far as it goes."""
    try:
        yield from container.demux()
    except (av.error.FFmpegError, IndexError):
        return


if __name__ == "__main__":
    main(*sys.argv[1:])
