"""Tests of shot changes, of linking faces into tracks and of choosing among tracks."""

import itertools

import cv2
import numpy as np
import pytest

from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.parameters import Performance, sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import performance_track
from faceswap_jax.faces import tracking
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.tracking import REACH, Linker, ShotCuts, Track, largest

# --- shot changes


def puppet(persona: int, scene: int, performances: list[Performance]) -> list[np.ndarray]:
    """Frames of 128 px of one persona in one scene."""
    identity, light = sample_persona(0, persona), sample_scene(0, persona, scene)
    return [cv2.resize(render(identity, p, light, 64).image, (128, 128)) for p in performances]


def cuts(frames: list[np.ndarray], threshold: float = Settings().cut) -> list[int]:
    detector = ShotCuts(threshold)
    return [position for position, frame in enumerate(frames) if detector(frame)]


@pytest.fixture(scope="module")
def shots() -> list[list[np.ndarray]]:
    """Six frames of each of three puppets, each in a scene of its own, at 25 frames a second."""
    return [puppet(number, number, performance_track(0, number, 0, 6)) for number in range(3)]


def test_a_cut_is_found_at_its_first_frame(shots):
    assert cuts([*shots[0], *shots[1], *shots[2], *shots[0]]) == [6, 12, 18]
    assert cuts([*shots[0][:2], shots[1][0], *shots[0][2:]]) == [
        2,
        3,
    ]  # even a shot of one frame has two ends
    assert cuts([shots[0][0], *shots[1]]) == [1]


def test_a_cut_says_what_changes(shots):
    """How much, and between which two frames."""
    detector = ShotCuts(20.0)
    assert detector(shots[0][0]) is None and detector(shots[0][1]) is None
    cut = detector(shots[1][0])
    assert 20 <= cut.change <= 255 and cut.colours < tracking.ALIKE
    side = tracking.SHOT_SIDE
    for image, frame in ((cut.before, shots[0][1]), (cut.after, shots[1][0])):
        small = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
        assert np.abs(small - image.astype(int)).mean() < 4


def test_a_close_up_that_moves_fast_is_no_cut(shots, monkeypatch):
    """Its content changes as much as by a cut, and its colours stay."""
    large = cv2.resize(shots[1][0], (256, 256))
    frames = [np.roll(large, (40 * number, 90 * number), (0, 1)) for number in range(5)]
    assert cuts(frames) == []
    # Colours alone tell the difference.
    monkeypatch.setattr(tracking, "ALIKE", 2.0)
    assert len(cuts(frames)) >= 3


def test_what_is_no_cut(shots):
    """Motion, expressions, light and noise."""
    rng = np.random.default_rng(0)
    still = shots[1][0]
    turn = puppet(1, 1, [Performance(yaw=yaw) for yaw in (-40, -40, -20, 0, 20, 40, 40)])
    wink = puppet(1, 1, [Performance(lid_left=lid) for lid in (0.8, 0.8, 0.0, 0.0, 0.8)])
    slow = puppet(2, 2, performance_track(0, 2, 2, 8, rate=3.0))
    dimming = [np.uint8(still * (1 - 0.1 * step)) for step in range(4)]
    large = cv2.resize(still, (512, 512))
    noisy = [np.uint8(np.clip(large + rng.normal(0, 12, large.shape), 0, 255)) for _ in range(4)]
    for frames in (shots[0], turn, wink, slow, [still] * 3, dimming, noisy):
        assert cuts(frames) == []


def test_the_size_of_frames_may_change(shots):
    frames = [
        cv2.resize(frame, (200, 300)) if number % 2 else frame
        for number, frame in enumerate(shots[0])
    ]
    assert cuts(frames) == []
    assert cuts([*shots[0], *(cv2.resize(frame, (90, 50)) for frame in shots[1])]) == [6]


def test_threshold_zero_never_cuts(shots):
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    assert cuts([black, white, *shots[0], *shots[1]], 0) == []
    assert cuts([black, white, white, black]) == [1, 3]


# --- linking

SHAPE = np.random.default_rng(0).uniform(-0.5, 0.5, (68, 2))
SHAPE = (SHAPE - SHAPE.min(0)) / np.ptp(SHAPE, axis=0) - 0.5  # fills a square of side 1


def face(x: float, y: float = 0.0, size: float = 100.0, name: float = 1.0) -> Face:
    """A face whose box is a square of the given side around (x, y); its confidence serves as a name."""
    return Face((SHAPE * size + (x, y)).astype(np.float32), name)


def link(faces: list[list[Face]], cuts: set[int]) -> list[Track]:
    """The tracks of all frames, given one after the other."""
    linker = Linker()
    for position, found in enumerate(faces):
        linker(found, position in cuts)
    return linker.tracks


def names(tracks: list[Track]) -> list[tuple[list[int], list[float]]]:
    return [(track.frames, [face.confidence for face in track.faces]) for track in tracks]


def test_no_faces():
    assert link([], ()) == []
    assert link([[], [], []], {1}) == []
    assert largest([]) == []


def test_gaps_and_cuts_end_tracks():
    a = face(0)
    assert [track.frames for track in link([[], [a], [a], [], [a]], ())] == [[1, 2], [4]]
    assert [track.frames for track in link([[a], [a], [a], [a]], {2})] == [[0, 1], [2, 3]]
    assert [track.frames for track in link([[a], [a]], [0, 1])] == [[0], [1]]


def test_a_face_that_jumps_is_another():
    """So is one that is suddenly of another size."""
    assert len(link([[face(0)], [face(300)]], ())) == 2
    assert len(link([[face(0)], [face(0, size=400)]], ())) == 2
    assert len(link([[face(0)], [face(60)], [face(120, size=120)]], ())) == 1


@pytest.mark.parametrize("step", [2, 10, 25])
def test_two_who_pass_each_other_are_not_swapped(step):
    """One walks to the right, one, a little further away, to the left; they meet in the middle."""
    positions = range(-10, 11)
    frames = [
        [face(step * i, 0, 100, 1), face(-step * i, -25, 85, 2)][:: 1 if i % 2 else -1]
        for i in positions
    ]
    everywhere = list(range(len(positions)))
    assert names(link(frames, ())) == [(everywhere, [1.0] * 21), (everywhere, [2.0] * 21)]


def test_one_leaves_and_comes_back():
    a, b = face(0, name=1), face(150, name=2)
    frames = [[a, b], [b, a], [b], [a, b]]
    assert names(link(frames, ())) == [([0, 1], [1, 1]), ([0, 1, 2, 3], [2, 2, 2, 2]), ([3], [1])]


def test_a_newcomer_does_not_take_over_a_track():
    """Two poor links must not win over a good one: the person on the left has gone, one on the right has come."""
    frames = [[face(0, name=1), face(75, name=2)], [face(75, name=2), face(150, name=3)]]
    assert names(link(frames, ())) == [([0], [1]), ([0, 1], [2, 2]), ([1], [3])]


def test_faces_without_extent():
    """Landmarks that someone supplied may be no face; that is told elsewhere."""
    point = Face(np.full((68, 2), 30, np.float32), 1.0)
    assert [track.frames for track in link([[point], [point], [face(30)]], ())] == [[0, 1], [2]]


@pytest.mark.parametrize("seed", range(200))
def test_known_identities(seed):
    """People who stay at their places, move quickly there, come and go, in any order: a track is a presence."""
    rng = np.random.default_rng(seed)
    people, length = rng.integers(1, 6), rng.integers(1, 30)
    size = rng.uniform(50, 200)
    sizes = size * rng.uniform(0.8, 1.0, people)
    cuts = set(np.flatnonzero(rng.random(length) < 0.1).tolist())
    present = rng.random((length, people)) < 0.8
    wander = 0.25 * size * rng.uniform(-1, 1, (length, people, 2))
    frames = [
        [
            face(2 * size * i + wander[t, i, 0], wander[t, i, 1], sizes[i], name=int(i))
            for i in rng.permutation(people)
            if present[t, i]
        ]
        for t in range(length)
    ]
    expected = []
    for i in range(people):
        for t in range(length):
            if present[t, i]:
                if t == 0 or not present[t - 1, i] or t in cuts:
                    expected.append(([], []))
                expected[-1][0].append(t)
                expected[-1][1].append(i)
    found = link(frames, cuts)
    assert sorted(names(found)) == sorted(expected)
    order = [
        (track.frames[0], -float(np.ptp(track.faces[0].landmarks, axis=0).prod()))
        for track in found
    ]
    assert order == sorted(order)


@pytest.mark.parametrize("seed", range(100))
def test_every_face_is_in_exactly_one_track(seed):
    """And tracks have neither gaps nor cuts, whatever the faces do."""
    rng = np.random.default_rng(seed)
    frames = [
        [face(*rng.uniform(0, 300, 2), rng.uniform(20, 200)) for _ in range(rng.integers(0, 6))]
        for _ in range(12)
    ]
    cuts = rng.choice(12, 2).tolist()
    tracks = link(frames, cuts)
    linked = [
        (t, id(face)) for track in tracks for t, face in zip(track.frames, track.faces, strict=True)
    ]
    assert sorted(linked) == sorted(
        (t, id(face)) for t, found in enumerate(frames) for face in found
    )
    for track in tracks:
        first, last = track.frames[0], track.frames[-1]
        assert track.frames == list(range(first, last + 1))
        assert not any(first < cut <= last for cut in cuts)
    assert names(link(frames, cuts)) == names(tracks)


@pytest.mark.parametrize("seed", range(50))
def test_links_cost_least_together(seed):
    """Against trying all ways of linking three faces with three, where every unlinked pair costs REACH."""
    rng = np.random.default_rng(seed)
    before, after = (
        [face(*rng.uniform(0, 150, 2), rng.uniform(80, 120)) for _ in range(3)] for _ in range(2)
    )

    def cost(a: Face, b: Face) -> float:
        sizes = [np.ptp(face.landmarks, axis=0).max() for face in (a, b)]
        return np.hypot(*(a.landmarks - b.landmarks).T).mean() / min(sizes)

    best = min(
        sum(min(cost(a, b), REACH) for a, b in zip(before, order, strict=True))
        for order in itertools.permutations(after)
    )
    linked = [cost(*track.faces) for track in link([before, after], ()) if len(track.faces) == 2]
    assert all(each < REACH for each in linked)
    assert sum(linked) + REACH * (3 - len(linked)) == pytest.approx(best)


# --- choosing


def track(first: int, length: int, size: float = 100.0) -> Track:
    return Track(list(range(first, first + length)), [face(0, size=size)] * length)


def test_a_false_detection_does_not_displace_a_track():
    person, glimpse = track(0, 30), track(10, 1, size=250)
    assert largest([glimpse, person]) == [person]


def test_tracks_that_share_no_time_all_stay():
    """Also a bystander who is alone for a while."""
    before, bystander, after = track(0, 5), track(5, 3, size=20), track(8, 5)
    assert largest([after, before, bystander]) == [before, bystander, after]


def test_of_two_at_once_the_larger_stays():
    near, far, alone = track(0, 10), track(5, 10, size=50), track(20, 2, size=50)
    assert largest([near, far, alone]) == [near, alone]


@pytest.mark.parametrize("seed", range(50))
def test_largest_of_many(seed):
    """No two share time, and each that went shares time with one that weighs at least as much."""
    rng = np.random.default_rng(seed)
    tracks = [
        track(*rng.integers((0, 1), (40, 12)).tolist(), rng.uniform(20, 200)) for _ in range(12)
    ]

    def weight(track: Track) -> float:
        return sum(float(np.ptp(face.landmarks, axis=0).prod()) for face in track.faces)

    kept = largest(tracks)
    assert all(a.frames[-1] < b.frames[0] for a, b in itertools.pairwise(kept))
    for gone in (track for track in tracks if all(track is not other for other in kept)):
        rivals = [other for other in kept if set(other.frames) & set(gone.frames)]
        assert max(map(weight, rivals)) >= weight(gone)


@pytest.mark.parametrize("seed", range(20))
def test_linkers_of_two_halves_give_what_one_gives(seed):
    """Faces that wander, come and go, and shots that change, also between the halves."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 300, (4, 2))
    frames = []
    for _ in range(20):
        places += rng.normal(0, 12, places.shape)
        found = [face(*place) for place in places[rng.random(4) < 0.8]]
        frames.append((found, bool(rng.random() < 0.1)))

    whole = Linker()
    for found, cut in frames:
        whole(found, cut)
    middle = int(rng.integers(0, 21))
    halves = [Linker(), Linker()]
    for number, (found, cut) in enumerate(frames):
        halves[number >= middle](found, cut)
    first, second = halves
    first.append(second, cut=middle < 20 and frames[middle][1])

    assert [track.frames for track in first.tracks] == [track.frames for track in whole.tracks]
    for mine, other in zip(first.tracks, whole.tracks, strict=True):
        assert all(a is b for a, b in zip(mine.faces, other.faces, strict=True))
    # And both go on alike.
    assert first(frames[0][0], False) == whole(frames[0][0], False)
