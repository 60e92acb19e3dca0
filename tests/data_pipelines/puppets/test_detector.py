"""A real detector takes puppets for faces and sees their features where they are drawn."""

import numpy as np

from data_pipelines.puppets.tracks import performance_track, render_frame
from faceswap_jax.faces.ibug import LEFT_EYE, MOUTH, RIGHT_EYE
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker


def test_mediapipe_finds_faces_eyes_and_mouths():
    landmarker, distances, frames = MediaPipeLandmarker(beta=0.0), [], 0
    for persona in range(16):
        index = next(
            i for i, act in enumerate(performance_track(3, persona, 0, 250)) if abs(act.yaw) <= 30
        )
        frame = render_frame(3, persona, 0, index, 256)
        frames += 1
        for face in landmarker(frame.image, 0)[:1]:
            right, left = (frame.landmarks[eye].mean(0) for eye in (RIGHT_EYE, LEFT_EYE))
            features = [*RIGHT_EYE, *LEFT_EYE, *MOUTH]
            apart = np.linalg.norm((face.landmarks - frame.landmarks)[features], axis=1)
            distances.append(apart / np.linalg.norm(left - right))
    landmarker.close()
    assert len(distances) >= 0.9 * frames
    assert np.median(distances) < 0.08
