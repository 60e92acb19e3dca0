"""StyleGAN2 with adaptive augmentation, at 1024 px: faces of nobody, and the latent space that transfer moves in.

Costs: not measured; work for accelerators. experiments/stylegan2_puppets.py is for a desk's CPU.
Expect: not measured. On FFHQ the source has an FID of 2.8 with all 70,000 images of 1024 px, which compares with no
other data.
Reproduces: config F's networks (Karras et al., CVPR 2020), lazy R1 and path lengths, style mixing, averaged weights;
changes of what the discriminator sees, whose probability adapts (ADA, Karras et al., NeurIPS 2020). The numbers are
those of ADA's configuration `auto` at 1024 px, with 32 images a step.

    faceswap prepare VoxCeleb --output data --resolution 1024
    faceswap train --config experiments/stylegan2.py --workdir runs/stylegan2 --config.data.path=data

Smaller: --config.model.resolution=256, where `auto` has half of the width above 32 px, 2.5e-3 and 64 images:
--config.model.width=0.5 --config.model.most=1024 --config.learning_rate=2.5e-3 --config.batch=64
--config.loss.penalty=0.2048. Trained weights to begin with are files that docs/stylegan2.md describes:
--config.weights=ffhq.safetensors --config.model.mapping_layers=8.

FID and KID by held-out people, during the training: --config.networks.sets=inception.npz, see pretrained/inception.py.
With a run of experiments/identity.py, trained on faces cut alike, they are feature distances, and called so.

The loss of R3GAN (Huang et al. 2024): --config.loss.adversary=relativistic --config.loss.penalty_every=1
--config.loss.penalty_made=6.5536 --config.loss.path=0.

Choices: both networks learn in the same step; what is added lazily is a part of that update, so neither rate nor decay
are changed for it; the probability is adjusted after every step, in the source after every fourth; the deviation is
looked at over neighbours. tasks/stylegan2_losses.py, models/residual.py and ops/adaptive.py have more.
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "stylegan2"
    c.seed = 0
    c.identities = ()  # taken from the data
    c.weights = ""  # trained ones to begin with: a file, or another run's folder
    c.shapes = ml_collections.ConfigDict()  # of the network that c.networks names, taken from it

    c.networks = ml_collections.ConfigDict()
    # What distances of sets look with: Inception's weights, a run of experiments/identity.py; "": none
    c.networks.sets = ""

    c.data = ml_collections.ConfigDict()
    c.data.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam; "puppets": rendered
    c.data.path = "data"
    c.data.split = "train"  # whose identities to take
    c.data.manifest = ""  # digest of what the data are, taken from them
    c.data.held_out = 0.1  # the last fraction of the identities, never trained on
    c.data.test = 32  # images of these that a batch of the evaluations has
    c.data.sets = 64  # batches of these that are compared with as many made images
    c.data.mirror = True  # mirrors half of the images

    c.alignment = "ffhq"  # how faces are cut, see faces/align.py

    c.model = ml_collections.ConfigDict()
    c.model.resolution = 1024  # side of the images, pixels, a power of two
    c.model.latent = 512  # length of latents and styles
    c.model.width = 1.0  # of all channels of both networks
    c.model.most = 512  # channels of small sides, times the width
    c.model.mapping_layers = 2  # config F has 8

    c.loss = ml_collections.ConfigDict()
    c.loss.adversary = "cross_entropy"  # "hinge"; "relativistic"
    c.loss.penalty = 0.0002 * 1024**2 / 32  # R1: of slopes on real images; 0: none
    c.loss.penalty_made = 0.0  # R2: of those on made ones
    c.loss.penalty_every = 16  # steps; it counts so many times as much
    c.loss.path = 2.0  # of uneven path lengths; 0: none
    c.loss.path_every = 4  # steps; it counts so many times as much

    c.augment = ml_collections.ConfigDict()
    c.augment.probability = 0.0  # of each change, at first
    # Mean sign of the verdicts on real images; 0: the probability stays, and where it is 0, nothing is changed
    c.augment.target = 0.6
    c.augment.kimg = 500.0  # thousands of images in which it rises from 0 to 1

    c.mixing = 0.9  # fraction of the images with styles of two latents
    c.steps = 781_250  # 25 million images
    c.batch = 32
    c.learning_rate = 2e-3
    c.average = 0.5 ** (
        32 / 10_000
    )  # of the weights, how much of their mean stays in a step; half after 10,000 images
    c.precision = "float32"
    return c
