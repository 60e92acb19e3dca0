"""A face's landmarks, pictures and small clips, made without the package."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def face_landmarks() -> np.ndarray:
    """Rough frontal face [68, 2], interocular distance 100, midpoint between the eyes at the origin."""
    angle = np.linspace(np.pi, 0, 17)
    jaw = np.column_stack([-110 * -np.cos(angle), 20 + 160 * np.sin(angle)])
    brow = np.column_stack([np.linspace(-35, 35, 5), -40 - 10 * np.sin(np.linspace(0, np.pi, 5))])
    nose = np.column_stack([np.zeros(4), np.linspace(5, 60, 4)])
    nostrils = np.column_stack([np.linspace(-25, 25, 5), np.full(5, 72)])
    eye = np.array([(-20, 0), (-8, -7), (8, -7), (20, 0), (8, 7), (-8, 7)])
    turn = np.linspace(np.pi, 3 * np.pi, 12, endpoint=False)
    lips = np.column_stack([45 * np.cos(turn), 110 + 18 * np.sin(turn)])
    inner = np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)
    inner = np.column_stack([35 * np.cos(inner), 110 + 6 * np.sin(inner)])
    side = np.array([50, 0])
    brows, eyes = [brow - side, brow + side], [eye - side, eye + side]
    return np.concatenate([jaw, *brows, nose, nostrils, *eyes, lips, inner]).astype(np.float32)


def similarity(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    """Transform [2, 3] that scales, turns and moves."""
    angle = np.deg2rad(degrees)
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, x], [sine, cosine, y]])


def smooth_picture(height: int, width: int, phase: float = 0.0) -> np.ndarray:
    """Colourful picture without sharp edges [height, width, 3]."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(6 * x + phase), np.cos(5 * y - phase), np.sin(4 * (x + y) + 2 * phase)]
    return np.uint8(128 + 80 * np.stack(waves, -1))


def write_clip(
    path: Path,
    images: list[np.ndarray],
    rate: Fraction = Fraction(25),
    times: list[int] | None = None,
    time_base: Fraction | None = None,
    audio: bool = False,
    matrix: int = 1,
    full_range: bool = False,
    tagged: bool = True,
    options: dict[str, str] | None = None,
) -> Path:
    """H.264 clip at high quality; `times` in units of `time_base`."""
    height, width = images[0].shape[:2]
    with av.open(str(path), "w", options=options or {}) as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "4"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        context = video.codec_context
        context.time_base = time_base or 1 / rate
        if tagged:
            context.color_range = 2 if full_range else 1
            context.colorspace = context.color_primaries = context.color_trc = matrix
        if audio:
            sound = container.add_stream("aac", rate=16000, layout="mono")
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(
                format="yuv420p",
                dst_colorspace=matrix,
                src_color_range=2,
                dst_color_range=2 if full_range else 1,
            )
            frame.pts, frame.time_base = (times[index] if times else index), context.time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio:
            seconds = len(images) / rate
            wave = np.sin(np.arange(int(16000 * seconds)) * 0.1).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path
