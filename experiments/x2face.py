"""X2Face, with the numbers of its source (Wiles, Koepke and Zisserman, ECCV 2018): one picture driven by frames.

Costs: not measured yet. This is work for a GPU; experiments/x2face_puppets.py is for a desk's CPU.
Expect: not measured yet. The source has L1 errors on VoxCeleb of 0.0632 after stage I and 0.0630 after stage II with
one source, 0.0524 and 0.0521 with three.
Reproduces: both networks in the released layout at 256 px, the embedded face, L1 on frames of the same track; SGD with
momentum 0.9, batches of 16, learning rate 1e-3, a tenth of it after a plateau; stage II from 1e-4, with the content
losses of a face network, those of other people's driving frames at 1/10.

    faceswap prepare VoxCeleb --output data --resolution 256 --interval 1
    faceswap train --config experiments/x2face.py --workdir runs/x2face --config.data.path=data

The authors released stage I, and so ends this. Stage II needs a frozen face network, from the start of the run. As in
the source that may be a VGG-Face, --config.loss.embedder=vgg_face.safetensors; pretrained/vggface.py says how its
tensors are named. Without one a run of experiments/identity.py serves, trained on faces that are cut alike:

    faceswap train --config experiments/identity.py --workdir runs/identity --config.data.path=data \
        --config.alignment=box
    faceswap train --config experiments/x2face.py --workdir runs/x2face --config.data.path=data \
        --config.loss.embedder=runs/identity --config.content_steps=100000

Choices, where the source is silent: the numbers of steps, three sources, what counts as a plateau, and how the content
losses are balanced, losses/content.py.
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "x2face"
    c.seed = 0
    c.identities = ()  # taken from the data
    c.embedder = ml_collections.ConfigDict()  # its shape is taken from loss.embedder

    c.data = ml_collections.ConfigDict()
    c.data.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam; "puppets": rendered
    c.data.path = "data"
    c.data.split = "train"  # whose identities to take
    c.data.manifest = ""  # digest of what the data are, taken from them
    c.data.held_out = 0.1  # the last fraction of the identities, never trained on
    c.data.test = 64  # pairs of frames of these that the evaluations look at
    c.data.sources = 3  # frames that show who; confidences are only learned from several
    c.data.driving = 1  # frames that each embedded face is driven by in a step
    c.data.mirror = False  # mirrors half of the tracks

    c.alignment = (
        "box"  # how faces are cut, see faces/align.py; upright frames keep the head's roll
    )

    c.model = ml_collections.ConfigDict()
    c.model.resolution = 256  # side of the images, pixels: 16 to 256
    c.model.width = 1.0  # of the channels between the first and the last halving
    c.model.inner = 512  # channels of the embedding network at 1 px
    c.model.vector = 128  # length of the driving vector

    c.steps = 400_000  # of stage I
    c.content_steps = 0  # of stage II
    c.batch = 16
    c.optimizer = "sgd"  # "sgd", with momentum 0.9, as published; "adam"
    c.learning_rate = 1e-3
    c.content_rate = 1e-4  # learning rate that stage II begins with
    # The rate is a tenth when means of the loss over so many steps have not fallen for so many times by this fraction.
    c.plateau = ml_collections.ConfigDict()
    c.plateau.update(steps=2_000, patience=5, improvement=1e-3)
    c.precision = "float32"

    c.loss = ml_collections.ConfigDict()
    c.loss.other = 0.1  # weight of content where other people's frames drive
    # For stage II: a run of experiments/identity.py, InsightFace's IResNet (.onnx, .safetensors), or a VGG-Face
    # (.safetensors, .npz), see pretrained/vggface.py
    c.loss.embedder = ""
    return c
