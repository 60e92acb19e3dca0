"""The detector of fakes: what it sees of whom, what it learns, how it is scored, and data that it refuses."""

import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.prepare.settings import Settings
from data_pipelines.records import SHARDS, Counts, Manifest, Persona, ShardWriter, encode
from experiments import detector as experiment
from faceswap_jax.errors import InputError
from faceswap_jax.losses import adversarial
from faceswap_jax.models import discriminator
from faceswap_jax.tasks.detector import PREVIEW_COLUMNS, Task
from faceswap_jax.train import train
from tests.support.records import record_of
from tests.support.tiny_run import rows

SIDE, FRAMES = 16, 4
PEOPLE = [f"person{n}" for n in range(6)]
KNOWN, UNKNOWN = PEOPLE[:4], PEOPLE[4:]


def plain(rng):
    """A face of one colour, and noise."""
    return rng.uniform(60, 190, 3) + rng.normal(0, 10, (SIDE, SIDE, 3))


def striped(rng):
    """The same with fine stripes in its middle, as transposed convolutions leave them."""
    face = plain(rng)
    face[4:12, 4:12:2] += 60
    return face


def write_set(folder, draw, people=PEOPLE, seed=0):
    """A data set as `prepare` writes it."""
    (folder / SHARDS).mkdir(parents=True)
    personas = {}
    for number, name in enumerate(people):
        rng = np.random.default_rng((seed, number))
        with ShardWriter(folder / SHARDS / f"{name}-00000.arrayrecord") as writer:
            for frame in range(FRAMES):
                crop = draw(rng).clip(0, 255).astype(np.uint8)
                record = record_of(crop, persona=name, clip=f"{folder.name}.mp4", frame=frame)
                writer.write(encode(record, "png"), 0)
        personas[name] = Persona("train", [writer.shard], Counts(FRAMES, FRAMES, {}))
    settings = Settings(resolution=SIDE, image="png")
    Manifest(settings.to_json(), personas, {}).save(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Real faces, fakes with stripes in two folders, and fakes that nobody could tell."""
    folder = tmp_path_factory.mktemp("data")
    write_set(folder / "real", plain, seed=1)
    write_set(folder / "striped", striped, KNOWN, seed=2)
    write_set(folder / "striped_others", striped, UNKNOWN, seed=2)
    write_set(folder / "perfect", plain, UNKNOWN, seed=3)
    return folder


def config(data, **changes):
    c = experiment.get_config()
    c.data.update(path=str(data / "real"), held_out=1 / 3, test=8)
    c.fakes.attribute = (str(data / "striped"), str(data / "striped_others"))
    c.fakes.comb = (str(data / "perfect"),)
    c.model.update(halvings=2, scales=2, width=1 / 8)
    c.update(resolution=SIDE, steps=40, warm_up=2, batch=8, learning_rate=0.01)
    c.run.update(log=1, preview=2, checkpoint=2)
    c.update_from_flattened_dict(changes)
    return c


@pytest.fixture(scope="module")
def task(data):
    return Task(Task.resolve(config(data)))


@pytest.fixture(scope="module")
def fresh(task):
    return jax.jit(partial(task.init_state, task.phases[0]))(jax.random.key(0))


def numbers_of(batch):
    """A batch without its text, as steps see it."""
    return {
        name: numbers_of(part) if isinstance(part, dict) else part
        for name, part in batch.items()
        if name != "record"
    }


def shown(part):
    """Whom a part of a batch shows, and the clips that these are of."""
    places = [record.split(", ")[0].split(": ") for record in part["record"]]
    people, clips = zip(*places, strict=True)
    return set(people), set(clips)


def test_it_learns_from_real_faces_and_fakes_of_the_same_people(task):
    assert task.config.identities == tuple(KNOWN)
    batch = task.train_data(task.phases[0], 0, 1)[0]
    assert batch.keys() == {"real", "fakes"} and batch["fakes"].keys() == {"attribute"}
    assert shown(batch["real"]) == (set(KNOWN), {"real.mp4"})
    assert shown(batch["fakes"]["attribute"]) == (set(KNOWN), {"striped.mp4"})
    for part in (batch["real"], batch["fakes"]["attribute"]):
        assert part["image"].shape == (8, SIDE, SIDE, 3)


def test_it_is_scored_by_everybody_else_system_by_system(task):
    batch = task.eval_data(task.phases[0], 0, 1)[0]
    assert shown(batch["real"]) == (set(UNKNOWN), {"real.mp4"})
    clips = {name: shown(part) for name, part in batch["fakes"].items()}
    assert clips == {
        "attribute": (set(UNKNOWN), {"striped_others.mp4"}),
        "comb": (set(UNKNOWN), {"perfect.mp4"}),
    }
    assert task.data_summary() == (
        "6 personas, 24 images (person0 4, person1 4, person2 4, person3 4, person4 4, person5 4), "
        "24 fakes of attribute, 8 fakes of comb"
    )


def test_hosts_share_a_batch(task):
    phase = task.phases[0]
    whole = task.train_data(phase, 0, 1)[3]
    parts = [task.train_data(phase, host, 2)[3] for host in range(2)]
    of_hosts = [(part["real"]["image"], part["fakes"]["attribute"]["image"]) for part in parts]
    for shares, image in zip(
        zip(*of_hosts, strict=True),
        (whole["real"]["image"], whole["fakes"]["attribute"]["image"]),
        strict=True,
    ):
        np.testing.assert_array_equal(np.concatenate(shares), image)


def test_it_finds_the_fakes_of_the_system_that_it_learns_and_no_others(task, fresh):
    phase = task.phases[0]
    train_data = task.train_data(phase, 0, 1)
    step = jax.jit(task.steps(phase)["train"])
    state = fresh
    for number in range(40):
        state, metrics = step(state, numbers_of(train_data[number]))
    assert metrics["accuracy"] > 0.9

    held_out = numbers_of(task.eval_data(phase, 0, 1)[0])
    scores = jax.jit(task.evaluators(phase)[0].measure)(state, held_out)
    assert scores["attribute/accuracy"] > 0.9 and scores["attribute/area"] > 0.95
    assert 0.2 < scores["comb/area"] < 0.8

    # By hand
    def verdicts(part):
        images = part["image"] / 255
        scales = discriminator.apply(task.model, state.params, jnp.float32(images))
        return np.mean([scale.mean((1, 2)) for scale in scales], axis=0)

    real, fake = verdicts(held_out["real"]), verdicts(held_out["fakes"]["comb"])
    np.testing.assert_allclose(scores["real"], (real > 0).mean(), atol=1e-6)
    right = ((real > 0).mean() + (fake <= 0).mean()) / 2
    np.testing.assert_allclose(scores["comb/accuracy"], right, atol=1e-6)
    above = (real[:, None] > fake).mean()
    np.testing.assert_allclose(scores["comb/area"], above, atol=1e-3)


def test_the_preview_goes_from_what_looks_fake_to_what_looks_real(task, fresh):
    phase = task.phases[0]
    held_out = numbers_of(task.eval_data(phase, 0, 1)[0])
    preview = task.preview(phase)
    images = np.asarray(preview.draw(fresh, held_out))
    assert preview.rows == ["real", "fake: attribute, learned", "fake: comb, never learned"]
    assert images.shape == (3, PREVIEW_COLUMNS, SIDE, SIDE, 3) and len(preview.columns) == 8
    # Green where the bar is filled, which is wider from left to right
    green = (images[:, :, -1, :, 1] > 0.7).mean(-1)
    assert (np.diff(green, axis=1) >= 0).all()

    of_real = discriminator.apply(task.model, fresh.params, held_out["real"]["image"] / 255)
    probability = jax.nn.sigmoid(adversarial.of_images(of_real))
    np.testing.assert_allclose(green[0].max(), probability.max(), atol=1 / SIDE)


def test_a_run_knows_its_fakes_again(data, tmp_path):
    """By what they are, as it knows its real faces."""
    for name in ("real", "striped", "striped_others", "perfect"):
        shutil.copytree(data / name, tmp_path / name)
    c = config(tmp_path, steps=2, warm_up=1)
    assert train(c, tmp_path / "run")
    scores = rows(tmp_path / "run", evaluation=True)[-1]
    assert {"eval/real", "eval/attribute/area", "eval/comb/accuracy"} <= scores.keys()
    assert train(c, tmp_path / "run")  # finished: there is nothing to do

    shutil.rmtree(tmp_path / "perfect")
    write_set(tmp_path / "perfect", plain, UNKNOWN, seed=4)
    with pytest.raises(InputError, match=r"data\.manifest: .* accept the other data"):
        train(c, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fakes.comb": ("nowhere",)}, "The data folder nowhere does not exist; make one with"),
        ({"fakes.mine": "perfect"}, "config.fakes.mine is 'perfect'; give a tuple of folders"),
        (
            {"trained_on": ("attribute", "x2face")},
            r"config.trained_on is .*; name one or more .*have a folder: attribute, comb\.",
        ),
        ({"trained_on": ()}, r"config.trained_on is \(\); name one or more"),
        (
            {"trained_on": ("comb",)},
            "config.fakes.comb has no fakes of people who are trained on, such as person0; name",
        ),
        ({"resolution": 18}, "config.resolution is 18; give a multiple of 8"),
        ({"data.kind": "puppets"}, "config.data.kind is 'puppets'; choose tracks or tfds or blank"),
    ],
)
def test_what_makes_no_training_is_refused(data, changes, message):
    with pytest.raises(InputError, match=message):
        Task.resolve(config(data, **changes))


def test_fakes_of_nobody_who_is_held_out_are_refused(data):
    c = config(data)
    c.fakes.attribute = (str(data / "striped"),)
    with pytest.raises(
        InputError, match=r"config\.fakes\.attribute has no fakes of people who are"
    ):
        Task.resolve(c)


def test_small_fakes_are_refused(data):
    c = config(data, resolution=32)
    with pytest.raises(
        InputError, match=r"config\.fakes\.attribute has images of 16 px, but 32 px"
    ):
        Task(Task.resolve(c)).data_summary()
