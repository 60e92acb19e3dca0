"""Clips with sound, made from clips without."""

from pathlib import Path

import av
import numpy as np

from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks

SOUND_RATE = 8000


def add_speech(source: Path, path: Path, frames: int, seconds: float, hidden=()) -> Path:
    """A copy of a clip with a tone; its landmarks beside it lack the frames `hidden`."""
    wave = (8000 * np.sin(np.arange(int(SOUND_RATE * seconds)) / 5)).astype(np.int16)
    with av.open(str(path), "w") as output, av.open(str(source)) as container:
        stream = output.add_stream_from_template(container.streams.video[0])
        sound = output.add_stream("aac", rate=SOUND_RATE, layout="mono")
        for packet in container.demux(container.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate = SOUND_RATE
        output.mux([*sound.encode(frame), *sound.encode(None)])

    landmarker = SidecarLandmarker(sidecar_path(source))
    seen = {i: landmarker(None, i)[0].landmarks for i in range(frames) if i not in hidden}
    write_landmarks(sidecar_path(path), seen)
    return path


def without_sound(source: Path, path: Path) -> Path:
    """A copy of a clip that has none."""
    with av.open(str(path), "w") as output, av.open(str(source)) as container:
        stream = output.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(container.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return path


def sound_packets(path: Path) -> list[tuple[int, bytes]]:
    """Time and content of every packet of sound."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[0])
        return [(packet.pts, bytes(packet)) for packet in packets if packet.dts is not None]
