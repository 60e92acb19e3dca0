"""MC-AAD, by its source (US 2023/0252687): anybody's attributes with anybody else's identity, at 256 px.

Costs: not measured; work for accelerators. experiments/attribute_puppets.py is for a desk's CPU.
Expect: not measured. The source gives no numbers.
Reproduces: the generator whose layers choose by masks between the attributes of one picture and the identity of
another; reconstruction of every picture, the attributes' and the features' loss, the cycle, and a multi-scale
discriminator with cross entropy.

    faceswap prepare VoxCeleb --output data --resolution 256 --interval 10
    faceswap train --config experiments/identity.py --workdir runs/identity --config.data.path=data
    faceswap train --config experiments/attribute.py --workdir runs/attribute --config.data.path=data

InsightFace's IResNet serves as well, --config.features.identity=r50.onnx. Without the cycle: --config.loss.cycle=0.

The role of the expression picture is added by a network that reads expressions. For real faces it is
--config.features.expression=mediapipe: the 51 blendshapes of MediaPipe's face landmarker, for every alignment. On crops
of real people they agree with what MediaPipe says of whole frames: correlations are 0.93 to 0.97 for brows, lids, gaze,
jaw and mouth (experiments/benchmarks/blendshapes.py), a little lower at 64 px. It hardly ever tells puffed cheeks and
turned-up noses. An image costs 33 ms of CPU time more in a step, at any size. The extra `faces` is needed where the
training begins; checkpoints and exports hold the weights (Apache-2.0). No whole training with them has been measured.
For puppets it is --config.features.expression=puppets, which ships and knows crops of --config.alignment=stable, or a
run of experiments/expression.py.

Public code, where the source is silent (FaceShifter's reimplementations): widths, weights 10, 10, 5 and 1, Adam with
betas 0 and 0.999 at 4e-4, batches of 16. Choices: the weight of the cycle, averaged weights, the discriminator's
widths; models/attribute.py, models/discriminator.py and tasks/attribute_losses.py have more.
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "attribute"
    c.seed = 0
    c.identities = ()  # taken from the data
    c.shapes = ml_collections.ConfigDict()  # of the networks that c.features names, taken from them

    # The networks that read what is taken from other pictures; "": the role is left out
    c.features = ml_collections.ConfigDict()
    c.features.identity = "runs/identity"  # a run of experiments/identity.py, or InsightFace's
    c.features.expression = (
        ""  # "mediapipe": its blendshapes; or a run of experiments/expression.py
    )

    c.data = ml_collections.ConfigDict()
    c.data.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam; "puppets": rendered
    c.data.path = "data"
    c.data.split = "train"  # whose identities to take
    c.data.manifest = ""  # digest of what the data are, taken from them
    c.data.held_out = 0.1  # the last fraction of the identities, never trained on
    c.data.test = 64  # images of these that a batch of the evaluations has
    c.data.mirror = True  # mirrors half of the images
    c.data.same = 0.0  # fraction of the pairs of pictures that keep a feature of their own
    c.data.pictures = 1  # of a person in a batch; from 2 on, a picture is made as it is by the identity of another one
    # People side by side who have the same attributes, as faceswap puppets --alike makes them: from 2 on, a picture is
    # made as it is by the attributes of the next one of them
    c.data.alike = 1

    c.alignment = (
        "eyes"  # how faces are cut, see faces/align.py; the networks of c.features know it
    )

    c.model = ml_collections.ConfigDict()
    c.model.resolution = 256  # side of the images, pixels
    c.model.levels = 8  # maps of the attributes, the smallest of 2 px
    c.model.width = 1.0  # of all channels of encoder and generator
    c.model.layers = 2  # of MC-AAD in each block
    # Of "eyes", "nose", "mouth", "jaw": what the attribute encoder doesn't see, so that features say what is there
    c.model.hidden = ()
    c.model.discriminator = ml_collections.ConfigDict()
    c.model.discriminator.halvings = 6  # of what each scale sees
    c.model.discriminator.scales = 3
    c.model.discriminator.width = 1.0

    c.loss = ml_collections.ConfigDict()
    c.loss.reconstruction = 10.0  # of every picture as itself
    c.loss.places = 0.0  # how much more pixels count in eyes, nose and mouth and along the jaw
    c.loss.attributes = 10.0
    c.loss.features = 5.0  # of each of c.features
    # Distance of a feature from the one that was lent, of which no less is asked for
    c.loss.enough = ml_collections.ConfigDict({"identity": 0.0, "expression": 0.0})
    c.loss.features_warm_up = 0  # steps over which their weight rises
    c.loss.cycle = 1.0  # 0: no cycle, and a third less to compute
    c.loss.adversarial = 1.0
    c.loss.adversary = "cross_entropy"  # as in the source; "hinge"; "relativistic"
    c.loss.adversarial_warm_up = 0  # steps over which the adversarial weight rises
    c.loss.penalty = (
        0.0  # of the discriminator's gradients on real and on made images (R1 and R2); 0: none
    )
    c.loss.penalty_every = 16  # steps; it counts so many times as much

    c.steps = 500_000
    c.final_steps = 0  # of these the last, in which the learning rate falls to zero
    c.batch = 16
    c.optimizer = "adam"  # without momentum; or "muon", whose learning rate is some 0.01
    c.learning_rate = 4e-4
    c.average = (
        0.999  # of the weights, how much of their mean stays in a step; the mean is what is used
    )
    c.precision = "float32"
    return c
