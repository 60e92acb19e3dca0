"""Swapped clips of the bench: many from one reading."""

from faceswap_jax.evaluation.swapping import _swap
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path
from faceswap_jax.faces.people import Person, find_people
from faceswap_jax.faces.tracking import Track
from faceswap_jax.inference.clip import Replacement, swap_clip
from tests.support.generators import PixelGenerator

METHODS = ("multiband", "none")


class Darkening(PixelGenerator):
    """Divides the light by its identity."""

    def __call__(self, identity, faces, edit=None):
        return super().__call__(identity, faces, edit) // identity


def test_one_reading_makes_the_files_that_swapping_one_by_one_makes(clips, tmp_path):
    clip = clips / "ben.mp4"
    person = find_people(clip, SidecarLandmarker(sidecar_path(clip)))[0]
    # One frame shows no face.
    faces = {i: face for i, face in person.faces.items() if i != 3}
    person = Person([Track(list(faces), list(faces.values()))])
    generator = Darkening(lambda crops: 255 - crops, 32, outline="wide")
    replacements = [Replacement(person, identity) for identity in (1, 3)]
    results = [
        {m: tmp_path / f"{replacement.identity}_{m}.mp4" for m in METHODS}
        for replacement in replacements
    ]
    _swap(generator, replacements, clip, results)
    # Each face is generated once for all methods: 10 frames are two batches.
    assert len(generator.batches) == 2 * len(replacements)

    contents = set()
    for replacement, paths in zip(replacements, results, strict=True):
        for method, path in paths.items():
            alone = tmp_path / "alone.mp4"
            swap_clip(generator, [replacement], clip, alone, method)
            assert path.read_bytes() == alone.read_bytes()
            contents.add(path.read_bytes())
    assert len(contents) == 4
