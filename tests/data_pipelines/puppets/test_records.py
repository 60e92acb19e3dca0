"""Records of puppets are what preparation would make of their clips, with the truth in place of what is found."""

import ml_collections
import numpy as np
import pytest

from data_pipelines.batches.roles import Identities, Personas
from data_pipelines.datasets import open_data
from data_pipelines.prepare import jobs
from data_pipelines.prepare.jobs import Job
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.verify import verify
from data_pipelines.puppets.dataset import write_records
from data_pipelines.puppets.parameters import sample_stylist
from data_pipelines.puppets.source import PuppetTrack
from data_pipelines.puppets.tracks import Cast, Take, render_frame, truth
from data_pipelines.records import SHARDS, Manifest, decode
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from tests.support.folders import files


def test_records_are_a_prepared_data_set(tmp_path):
    folder = tmp_path / "data"
    arguments = {
        "world_seed": 0,
        "personas": range(1, 3),
        "tracks": range(5, 7),
        "frames": 3,
        "rate": 8.0,
    }
    manifest = write_records(folder, **arguments, resolution=32)
    assert manifest == Manifest.load(folder) and verify(folder)
    opened = open_data(
        ml_collections.ConfigDict({"kind": "tracks", "path": str(folder), "split": "train"})
    )
    assert {name: list(source.tracks) for name, source in opened.items()} == {
        "puppet001": [3, 3],
        "puppet002": [3, 3],
    }
    for name, persona in (("puppet001", 1), ("puppet002", 2)):
        faces = [opened[name].read(index, decode) for index in range(6)]
        assert [(face.persona, face.clip, face.frame) for face in faces] == [
            (name, f"{name}/{track:02}", index) for track in (5, 6) for index in range(3)
        ]
        performance = render_frame(0, persona, 6, 2, 64, 8.0).performance
        assert faces[5].pose == pytest.approx(
            [performance.yaw, performance.pitch, performance.roll]
        )
    # Again: nothing is done anew. Half lost: it is made again, the same.
    before = files(folder)
    write_records(folder, **arguments, resolution=32)
    assert files(folder / SHARDS) == {
        name.removeprefix(f"{SHARDS}/"): stamp
        for name, stamp in before.items()
        if name.startswith(SHARDS)
    }
    (folder / SHARDS / "puppet002-00000.json").unlink()
    assert write_records(folder, **arguments, resolution=32) == manifest


def test_puppets_together_show_the_same_performances_with_faces_of_their_own(tmp_path):
    arguments = (0, range(4), range(2), 2, 8.0, 32)
    write_records(tmp_path / "data", *arguments, together=2)
    opened = open_data(
        ml_collections.ConfigDict(
            {"kind": "tracks", "path": str(tmp_path / "data"), "split": "train"}
        )
    )
    for index in range(4):
        first, second, third, _ = (source.read(index, decode) for source in opened.values())
        np.testing.assert_array_equal(first.pose, second.pose)
        np.testing.assert_array_equal(first.sound, second.sound)
        assert not np.array_equal(first.landmarks, second.landmarks)
        assert not np.array_equal(first.pose, third.pose)
    with pytest.raises(InputError, match="4 puppets cannot perform 3 together"):
        write_records(tmp_path / "others", *arguments, together=3)


def test_restyled_puppets_keep_shape_and_performance_and_look_otherwise_in_every_track(tmp_path):
    arguments = (0, range(2), range(2), 1, 8.0, 32)
    looks = []
    for restyled in (False, True):
        folder = tmp_path / str(restyled)
        write_records(folder, *arguments, restyled=restyled)
        opened = open_data(
            ml_collections.ConfigDict({"kind": "tracks", "path": str(folder), "split": "train"})
        )
        looks.append([source.read(n, decode) for source in opened.values() for n in range(2)])
    for own, restyled in zip(*looks, strict=True):
        np.testing.assert_array_equal(own.landmarks, restyled.landmarks)
        assert not np.array_equal(own.image, restyled.image)

    # Another stylist for every puppet and track, the same again for the same one
    stylists = [sample_stylist(0, persona, track) for persona in range(8) for track in range(8)]
    assert len(set(stylists)) == 64
    assert sample_stylist(0, 7, 7) == stylists[-1]


def test_puppets_alike_have_all_in_common_but_face_and_expression(tmp_path):
    """What a change of face and expression makes of one, the other one is."""
    arguments = (0, range(4), range(2), 1, 8.0, 32)
    folder = tmp_path / "alike"
    write_records(folder, *arguments, alike=2)
    opened = open_data(
        ml_collections.ConfigDict({"kind": "tracks", "path": str(folder), "split": "train"})
    )
    sources = list(opened.values())
    for number in range(2):
        first, second, third, _ = (source.read(number, decode) for source in sources)
        np.testing.assert_array_equal(first.pose, second.pose)
        assert not np.array_equal(first.pose, third.pose)
        assert not np.array_equal(first.landmarks, second.landmarks)
        stylist = sample_stylist(0, 0, number)
        take = Take(0, number, 0)
        cast = Cast(1, take, take, stylist, Take(1, number, 0))
        expected = truth(0, cast, 64, 8.0)
        moved = align.transform_points(expected.landmarks, second.transform)
        np.testing.assert_allclose(second.landmarks, moved, atol=1e-3)
    with pytest.raises(InputError, match="4 puppets are no groups of 3 who are alike"):
        write_records(tmp_path / "others", *arguments, alike=3)
    for others in ({"together": 2}, {"restyled": True}):
        with pytest.raises(InputError, match="leave out --together and --restyled"):
            write_records(tmp_path / "others", *arguments, alike=2, **others)

    # Data of one kind do not pass for the other.
    write_records(tmp_path / "together", *arguments, together=2)
    settings = {"kind": "tracks", "path": str(tmp_path / "together"), "split": "train"}
    together = list(open_data(ml_collections.ConfigDict(settings)).values())
    for good, bad, sampler in (
        (sources, together, Identities(1, neighbours=2)),
        (together, sources, Personas(2, together=True)),
    ):
        sampler.chooser(good, 4, 0)
        with pytest.raises(InputError, match=r"puppet000 and the 1 personas after it are not"):
            sampler.chooser(bad, 4, 0)


def test_records_of_other_puppets_are_made_anew():
    one, *others = (
        jobs.key(Job("puppet001", 0, (PuppetTrack.of(*numbers),)), Settings())
        for numbers in (
            (0, 1, 2, 3, 8.0),
            (1, 1, 2, 3, 8.0),
            (0, 1, 2, 4, 8.0),
            (0, 1, 2, 3, 9.0),
            (0, 1, 3, 3, 8.0),
        )
    )
    assert one not in others and len(set(others)) == 4


def test_records_that_cannot_be_made(tmp_path):
    good = {
        "world_seed": 0,
        "personas": range(2),
        "tracks": range(2),
        "frames": 3,
        "rate": 8.0,
        "resolution": 32,
    }
    for change, message in (
        ({"personas": range(0)}, "0 puppets with 2 tracks are 0; make 1 to 100000"),
        (
            {"personas": range(1000), "tracks": range(1000)},
            "1000 puppets with 1000 tracks are 1000000",
        ),
        ({"resolution": 33}, "--resolution=33 cannot be used; it must be a power of two"),
        ({"frames": 0}, "has 0 frames"),
        ({"rate": 1000.0}, "rate of puppets is 1000.0"),
    ):
        with pytest.raises(InputError, match=message):
            write_records(tmp_path / "data", **good | change)
    assert not (tmp_path / "data").exists()
