"""Sound and mouths: which sound of a track belongs to which frame of it? What hears drives X2Face by sound.

Costs: about 7 minutes of one CPU core, by its pace of 3.4 steps a second, and 0.8 GiB.
Expect: of eight mouths of a track of a puppet never seen, the one that a sound belongs to is found in 66 %. Chance is
12.5 %; mouths that are closed at several times make 95 % the most that is possible. The opening of mouths, by least
squares on the features: 95 % of its variance. Log-mel energies tell as much, as puppets' loudness follows the opening;
real voices were not tried.
Reproduces: what SyncNet (Chung and Zisserman, Out of Time, 2016) is trained for, at desk size and with another loss:
one frame of the mouth, 0.2 s of sound, and InfoNCE over eight times of each track.

    faceswap puppets --output data --format records --world_seed 1 --personas 128 --tracks 24 --frames 8 --rate 2 \
        --resolution 64
    faceswap train --config experiments/sync.py --workdir runs/sync --config.data.path=data
    faceswap fit-control --workdir runs/x2face --sound runs/sync
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "sync"
    c.seed = 0
    c.identities = ()  # taken from the data

    c.data = ml_collections.ConfigDict()
    c.data.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam; "puppets": rendered
    c.data.path = "data"
    c.data.split = "train"  # whose identities to take
    c.data.manifest = ""  # digest of what the data are, taken from them
    # The last fraction of the identities, never trained on; of puppets that come together, whole groups
    c.data.held_out = 0.125
    c.data.times = 8  # frames of a track that are told apart
    c.data.test = 16  # tracks of a batch that the evaluations look at
    # Random misalignment of an image: ± degrees, fraction, image widths
    c.data.jitter = ml_collections.ConfigDict()
    c.data.jitter.update(rotation=4.0, scale=0.04, shift=0.02)

    c.alignment = "stable"  # how faces are cut, see faces/align.py
    c.resolution = 64  # of the aligned crops, pixels
    c.mouth = 0.5  # side of the mouths' images, in widths of the crop

    c.model = ml_collections.ConfigDict()
    c.model.hidden = 256  # features of the two hidden layers of what hears
    c.model.side = 32  # of a mouth, pixels
    c.model.stem = 24  # channels of what looks, at half of the side
    c.model.levels = (48, 64)  # and of its further levels
    c.model.squeeze = 16
    c.model.embedding = 256  # features, as published

    c.loss = ml_collections.ConfigDict()
    c.loss.temperature = 0.1

    c.steps = 1_500
    c.batch = 16  # tracks
    c.warm_up = 100
    c.learning_rate = 2e-3  # falls to zero along a cosine

    c.mesh.cpu_devices = 2
    c.run.update(preview=250, checkpoint=500)
    return c
