"""Who and what a batch shows: personas in epochs, identities in turns, roles from tracks."""

import tracemalloc

import numpy as np
import pytest

from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.roles import Identities, Personas, Roles
from data_pipelines.puppets.source import puppet_source
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError
from tests.support.numbered import SIZE, made, numbered, numbers

PAIR = Roles(source=1, driving=1, other=1)

TRACKS = {**dict.fromkeys(range(3), 0), 3: 1, **dict.fromkeys(range(4, 8), 2)}
TRACKS |= {10: 3, 11: 3, 12: 4, 13: 4, 20: 5}
OWNER = {number: 0 if number < 8 else 1 if number < 14 else 2 for number in TRACKS}


def people() -> list[PersonaSource]:
    """Three identities with tracks of 3, 1, 4; 2, 2; and 1 records: the numbers of TRACKS."""
    return [
        numbered(3, 1, 4),
        numbered(2, 2, first=10, persona="b"),
        numbered(1, first=20, persona="c"),
    ]


def test_every_persona_shows_each_record_once_an_epoch_in_an_order_of_its_own():
    dataset = made([numbered(8), numbered(8)], Personas(), batch=8, seed=3)
    epochs = np.stack([numbers(dataset[step]) for step in range(4)])  # [epoch, persona, batch]
    assert (np.sort(epochs) == np.arange(8)).all()
    assert len({tuple(order) for order in epochs.reshape(-1, 8)}) == 8


def test_personas_together_are_neighbours_and_show_records_of_one_number():
    sources = [numbered(8, first=8 * p, persona=str(p)) for p in range(6)]
    sampler = Personas(some=2, together=True)
    dataset = made(sources, sampler, batch=4, seed=3, fields=("image", "identity"))
    batches = [dataset[step] for step in range(12)]
    shown = np.stack([numbers(batch) for batch in batches])  # [step, persona, batch]
    who = np.stack([batch["identity"][:, 0] for batch in batches])

    # Pairs of neighbours, each once in three steps
    assert (who % 2 == [0, 1]).all()
    pairs = who[:, 0].reshape(4, 3) // 2
    assert (np.sort(pairs) == [0, 1, 2]).all() and len({tuple(turn) for turn in pairs.tolist()}) > 1

    # The same records of both, each once in two turns
    np.testing.assert_array_equal(shown[:, 0] - 8 * who[:, :1], shown[:, 1] - 8 * who[:, 1:])
    for pair in range(3):
        epochs = shown[who[:, 0] == 2 * pair, 0].reshape(2, 8)
        assert (np.sort(epochs) == np.arange(8) + 16 * pair).all()

    # Other numbers of records, or another pose, are of other performances.
    for others in (numbered(4, persona="b"), puppet_source(0, 1, 0, 8, SIZE)):
        with pytest.raises(InputError, match=r"a and the 1 .*config.data.together=False"):
            made([numbered(8, persona="a"), others], Personas(together=True))


def test_identities_take_turns_and_show_each_record_once_before_they_repeat_one():
    fields = ("image", "identity")
    dataset = made(people(), Identities(), batch=6, resolution=8, fields=fields)
    batches = [dataset[step] for step in range(16)]  # two identities' turns a step
    shown = np.concatenate([numbers(batch) for batch in batches])
    who = np.concatenate([batch["identity"] for batch in batches])
    turns = who.reshape(-1, 3)
    assert (np.sort(turns) == [0, 1, 2]).all() and len({tuple(turn) for turn in turns.tolist()}) > 3
    for i, own in enumerate([range(8), range(10, 14), [20]]):
        epochs = shown[who == i].reshape(-1, len(own))
        assert (np.sort(epochs) == own).all()
        assert len(own) == 1 or len({tuple(epoch) for epoch in epochs.tolist()}) > 1


def test_frames_of_an_identity_are_different_and_side_by_side():
    sources = people()[:2]
    dataset = made(sources, Identities(3), batch=8, resolution=8, fields=("image", "identity"))
    shown = np.concatenate([numbers(dataset[step]) for step in range(8)]).reshape(-1, 3)
    who = dataset[0]["identity"].reshape(-1, 3)
    assert (who == who[:, :1]).all() and set(who[:, 0]) == {0, 1}
    assert all(len({OWNER[number] for number in own}) == 1 for own in shown.tolist())
    assert all(len(set(own)) == 3 for own in shown.tolist())
    # Of the whole identity, whatever the track
    assert {number for own in shown[:, 1:] for number in own.tolist()} == {
        *range(8),
        *range(10, 14),
    }
    with pytest.raises(InputError, match="Persona c has only 1 of 3 images"):
        made(people(), Identities(3))


def test_neighbours_show_the_same_records_side_by_side():
    sources = [numbered(6, first=6 * p, persona=str(p)) for p in range(4)]
    dataset = made(
        sources, Identities(2, neighbours=2), batch=2, resolution=8, fields=("image", "identity")
    )
    for step in range(3):
        batch = dataset[step]
        who = batch["identity"].reshape(2, 2, 2)  # [element, neighbour, frame]
        shown = numbers(batch).reshape(2, 2, 2) - 6 * who
        assert (who[:, 0] % 2 == 0).all() and (who[:, 1] == who[:, 0] + 1).all()
        np.testing.assert_array_equal(shown[:, 0], shown[:, 1])
        assert (shown[..., 0] != shown[..., 1]).all()
        # Both pairs, one after the other
        assert {*who[:, 0, 0]} == {0, 2}
    # Another record would be no truth.
    sources[1].records[2] = b"damaged"
    pair = made(sources[:2], Identities(1, neighbours=2), batch=6, resolution=8)
    with pytest.raises(InputError, match="of 1 or of its neighbour is damaged"):
        pair[0]
    with pytest.raises(InputError, match="3 personas are no groups of 2 neighbours"):
        made(sources[:3], Identities(1, neighbours=2))
    with pytest.raises(InputError, match=r"set config\.data\.alike=1"):
        made([numbered(8), numbered(4, persona="b")], Identities(1, neighbours=2))


def test_source_and_driving_frames_are_of_one_track_and_the_others_of_another_identity():
    fields = ("image", "identity", "record")
    batch = made(people(), PAIR, batch=3000, resolution=8, seed=1, fields=fields)[0]
    shown = {role: numbers(frames)[:, 0].tolist() for role, frames in batch.items()}
    for a, b, c in zip(shown["source"], shown["driving"], shown["other"], strict=True):
        assert a != b and TRACKS[a] == TRACKS[b] and OWNER[a] != OWNER[c]
    for role, frames in batch.items():
        owners = [OWNER[number] for number in shown[role]]
        assert frames["identity"][:, 0].tolist() == owners
        assert frames["record"][0, 0].endswith(f"frame {shown[role][0]}")

    # Both identities with longer tracks are equally likely, and so is each of their records in such tracks.
    counts = {number: shown["source"].count(number) for number in TRACKS}
    assert counts[3] == counts[20] == 0  # alone in their tracks
    np.testing.assert_allclose([counts[n] for n in (0, 1, 2, 4, 5, 6, 7)], 1500 / 7, rtol=0.25)
    np.testing.assert_allclose([counts[n] for n in (10, 11, 12, 13)], 1500 / 4, rtol=0.25)

    # So the driving frame is any of the track's others.
    counts = {number: shown["driving"].count(number) for number in TRACKS}
    np.testing.assert_allclose([counts[n] for n in (4, 5, 6, 7)], 1500 / 7, rtol=0.25)

    # All records of another identity are equally likely, tracks of one record included.
    pairs = zip(shown["other"], shown["source"], strict=True)
    assert {number for number, own in pairs if OWNER[own] == 0} == {10, 11, 12, 13, 20}


def test_frames_of_an_element_are_all_different_and_in_any_order():
    sampler = Roles(source=3, driving=1, other=2)
    batch = made(people(), sampler, batch=600, resolution=8, fields=("image", "identity"))[0]
    assert {role: frames["image"].shape[:2] for role, frames in batch.items()} == {
        "source": (600, 3),
        "driving": (600, 1),
        "other": (600, 2),
    }
    # Only one track has four records.
    own = np.concatenate([numbers(batch["source"]), numbers(batch["driving"])], 1)
    assert (np.sort(own) == [4, 5, 6, 7]).all()
    assert len({tuple(order) for order in own.tolist()}) == 24
    other = np.sort(numbers(batch["other"]))
    assert {tuple(pair) for pair in other.tolist()} == {(10, 11), (12, 13)}
    assert (batch["other"]["identity"] == 1).all()


def test_a_role_without_frames_is_left_out():
    batch = made(people(), Roles(source=2, driving=0), batch=8)[0]
    assert batch.keys() == {"source"} and batch["source"]["image"].shape[:2] == (8, 2)


def test_frames_of_one_track_are_mirrored_together_and_those_of_another_identity_by_themselves():
    sources = [numbered(2), numbered(2)]
    mirror = Augmentation(mirror=True)
    batch = made(sources, PAIR, batch=64, fields=("pose",), augmentation=mirror)[0]
    source, driving, other = (
        batch[role]["pose"][:, 0, 0] < 0 for role in ("source", "driving", "other")
    )
    np.testing.assert_array_equal(source, driving)
    assert 16 < source.sum() < 48 and 16 < (source ^ other).sum() < 48


def test_sources_that_cannot_fill_the_groups_are_told_at_once():
    empty = PersonaSource("ann", [], [], SIZE)
    for sampler in (Personas(), Identities()):
        with pytest.raises(InputError, match="Persona ann has no images"):
            made([numbered(2), empty], sampler)
    with pytest.raises(InputError, match="two are needed"):
        made([numbered(4), empty], PAIR)
    with pytest.raises(InputError, match="2 or more images"):
        made([numbered(1), numbered(1, 1)], PAIR)


def test_the_index_of_tracks_is_small_and_reads_no_record():
    """7,000 identities with 10 million records."""

    class Sealed:
        def __getitem__(self, index):
            raise AssertionError("read")

    rng = np.random.default_rng(0)
    sources = [
        PersonaSource(str(i), Sealed(), rng.integers(1, 140, 20).tolist(), SIZE)
        for i in range(7000)
    ]
    assert 9e6 < sum(map(len, sources)) < 11e6
    tracemalloc.start()
    dataset = made(sources, Roles(source=3, driving=1))
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert memory < 10e6
    with pytest.raises(AssertionError, match="read"):
        dataset[10**9]
