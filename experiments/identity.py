"""The face embedder: a small IResNet that tells people apart by the shape of their faces, on rendered puppets.

Costs: on two CPU cores with light work beside, 3 minutes to render and 23 to train.
Expect: on 240 puppets that it has never seen, in eight looks each, the area under the ROC curve is 0.958 of whole crops
and 0.964 of the face alone, verification accuracy 89.1 and 90.1 %, true accepts 13 % at a false accept rate of 1e-3.
Reproduces: the network, the classifier and the optimizer of ArcFace (Deng et al. 2019) at desk size: 1.0 M weights that
see crops of 64 px at 48 px, whole or the face alone, soft and in other light. Without the margin; see below.

    faceswap puppets --output data --world_seed 7 --format records --personas 2400 --tracks 8 --frames 1 --rate 1 \
        --resolution 64 --restyled
    faceswap train --config experiments/identity.py --workdir runs/identity --config.data.path=data
    python -m experiments.benchmarks.identity --embedder runs/identity

Restyled, a puppet has the glasses, hair, beard and skin tone of another one in every track. Where each has its own, as
600 puppets with four tracks of four frames, these tell it apart: the area is 0.997 after 2,000 steps, and nothing is
learned of the face. A puppet in somebody else's looks is then 0.06 (1 - cosine) from whose looks these are and 0.92
from whose face it is. This network says 0.69 and 0.53 of puppets never seen, and finds 47 % of 60 such faces,
where 2 % are chance.

In crops of --config.alignment=stable, of 5,400 people with six pictures and after 8,000 steps (32 minutes), the area is
0.973 of whole crops and 0.977 of the face alone, and 62 % of 60 such faces are found, mean of four sixties.

What ships as "puppets" knows such crops, and tells fewer people apart: after 5,000 steps on the first 2,700 people of
world 7 in six pictures, made with --alike 2 in place of --restyled, the area is 0.931 and 0.944 of 120 restyled people
from 5,400 on, and verification accuracy 84.6 and 87.1 %. `runs.ship` of faceswap_jax/pretrained/runs.py writes such
files.

Shape is harder to learn. With a margin of 0.5 at a scale of 32 the loss stayed where it had begun for 760 steps. Of 600
puppets in eight looks, two frames of each, the training set was learned by heart: an area of 0.72 after 1,000 steps.
World 7, because the bench's puppets are of world 0.

Full scale, untried: IResNet-50 on VoxCeleb prepared at 128 px, with --config.resolution=128,
--config.model.blocks="(3,4,14,3)", --config.model.channels="(64,128,256,512)", --config.model.stem=64,
--config.model.embedding=512, --config.model.side=112, --config.loss.scale=64, --config.loss.margin=0.5,
--config.batch=512 and steps for some twenty epochs.
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "identity"
    c.seed = 0
    c.identities = ()  # taken from the data

    c.data = ml_collections.ConfigDict()
    c.data.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam; "puppets": rendered
    c.data.path = "data"
    c.data.split = "train"  # whose identities to take
    c.data.manifest = ""  # digest of what the data are, taken from them
    c.data.held_out = 0.1  # the last fraction of the identities, never trained on
    c.data.test = 1024  # images of these that the evaluations look at
    # Random misalignment of an image and its mask: ± degrees, fraction, image widths
    c.data.jitter = ml_collections.ConfigDict()
    c.data.jitter.update(rotation=4.0, scale=0.04, shift=0.02)

    c.alignment = "eyes"  # how faces are cut, see faces/align.py
    c.resolution = 64  # of the aligned crops, pixels
    c.face_alone = 0.25  # fraction of the images that are seen through the mask of the face
    c.blur = 0.01  # standard deviation in image widths, up to this
    # Random light and colour, ± of 0..1; hue in turns
    c.augment = ml_collections.ConfigDict()
    c.augment.update(brightness=0.05, contrast=0.1, saturation=0.0, hue=0.0)

    c.model = ml_collections.ConfigDict()
    c.model.blocks = (1, 1, 1, 1)  # of each stage; (3, 4, 14, 3) is IResNet-50
    c.model.channels = (32, 64, 128, 128)  # published: (64, 128, 256, 512)
    c.model.stem = 16  # published: 64
    c.model.embedding = 128  # published: 512
    c.model.side = 48  # of what it sees of a crop, pixels; published: 112

    c.loss = ml_collections.ConfigDict()
    c.loss.scale = 16.0  # published: 64
    c.loss.margin = 0.0  # radians; published: 0.5

    c.steps = 6_000
    c.batch = 64
    c.warm_up = 100
    c.learning_rate = 0.1  # falls to zero along a cosine
    c.momentum = 0.9
    c.weight_decay = 5e-4
    c.precision = "float32"

    c.mesh.cpu_devices = 2
    c.run.update(preview=500, checkpoint=1_000)
    return c
