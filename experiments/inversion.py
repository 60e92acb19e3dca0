"""ReStyle: anybody's pictures into the latent space of a StyleGAN2 (Alaluf et al., ICCV 2021), at 1024 px.

Costs: not measured; work for accelerators. experiments/inversion_puppets.py is for a desk's CPU.
Expect: not measured. The thesis that transfer reproduces finds identities of inversions at a cosine of 0.83 to their
pictures, with the public weights.
Reproduces: pSp's encoder with all heads at the last map, six input channels, five refinements with a backward pass
each; L2 1, LPIPS 0.8 and identity 0.1 on pictures of 256 px; Ranger at 1e-4 on batches of 8.

    faceswap train --config experiments/inversion.py --workdir runs/inversion --config.data.path=data \
        --config.networks.perceptual=lpips.npz
    faceswap invert ann.png --workdir runs/inversion --output inverted.png

The generator is a run of experiments/stylegan2.py, or a file, see docs/stylegan2.md. What it makes is judged by a face
embedder that knows faces cut alike, --config.alignment=ffhq in experiments/identity.py, and by LPIPS. No package ships
LPIPS's weights: pretrained/lpips.py says what the file is, ReStyle's is AlexNet's. Without one the embedder's layers
are compared, which is no LPIPS and not called so.

Not as published: the encoder begins with fresh weights, not with a face recogniser's. Choice: Ranger without
centralised gradients.

ReStyle-e4e, whose styles stay nearer to those that the generator was trained with, so that edits of them go further for
some loss of likeness:

    faceswap train --config experiments/inversion.py --workdir runs/e4e --config.data.path=data \
        --config.model.deltas=True --config.loss.adversarial=0.1

Source (Tov et al., SIGGRAPH 2021, and the public code of ReStyle-e4e): one style for all layers, and deltas that begin
one after the other, the first after 20,000 steps, the next ones every 2,000; 2e-4 of their lengths. A discriminator of
single styles with four layers, Adam at 2e-5, R1 10 at every 16th step; it meets styles of the first refinement, half of
them from a pool of 50, and the encoder pays 0.1 after every refinement.
Choices: a delta begins as zero, so it is silent before its time. Both sides learn in one step, each against the other
as it was, R1 with the rest. Styles of the mapping network are drawn anew: a pool of them holds nothing else.
Not as published: in that code an identity loss replaces both terms, and the discriminator meets styles less the mean
one, which the encoder's are not; here all terms are added up, and the styles are whole. Not measured.
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "inversion"
    c.seed = 0
    c.identities = ()  # taken from the data
    c.shapes = ml_collections.ConfigDict()  # of the networks that c.networks names, taken from them

    # Frozen networks
    c.networks = ml_collections.ConfigDict()
    c.networks.generator = "runs/stylegan2"  # a run of experiments/stylegan2.py, or a file
    c.networks.identity = "runs/identity"  # a run of experiments/identity.py, or InsightFace's
    c.networks.perceptual = ""  # LPIPS's weights; "": the layers of c.networks.identity

    c.data = ml_collections.ConfigDict()
    c.data.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam; "puppets": rendered
    c.data.path = "data"
    c.data.split = "train"  # whose identities to take
    c.data.manifest = ""  # digest of what the data are, taken from them
    c.data.held_out = 0.1  # the last fraction of the identities, never trained on
    c.data.test = 16  # pictures of these that a batch of the evaluations has
    c.data.mirror = True  # mirrors half of the pictures

    c.alignment = "ffhq"  # how faces are cut, see faces/align.py; all networks know it

    c.model = ml_collections.ConfigDict()
    c.model.side = 256  # of the pictures that the encoder reads, pixels
    c.model.blocks = (3, 4, 14, 3)  # of each stage: IR-SE-50
    c.model.channels = (64, 128, 256, 512)
    c.model.stem = 64
    c.model.deltas = False  # e4e: one style for all layers, and what each other differs from it

    c.deltas = ml_collections.ConfigDict()  # of c.model.deltas
    c.deltas.start = 20_000  # step in which the first begins
    c.deltas.every = 2_000  # steps until the next one does

    c.loss = ml_collections.ConfigDict()
    c.loss.l2 = 1.0
    c.loss.perceptual = 0.8
    c.loss.identity = 0.1
    c.loss.delta = 2e-4  # of the deltas' lengths
    c.loss.adversarial = 0.0  # e4e: 0.1, against a discriminator of styles; 0: there is none
    c.loss.penalty = 10.0  # R1: of its slopes on the mapping network's styles; 0: none
    c.loss.penalty_every = 16  # steps; it counts so many times as much

    c.discriminator = ml_collections.ConfigDict()  # of c.loss.adversarial
    c.discriminator.learning_rate = 2e-5
    c.discriminator.pool = 50  # styles of the encoder that it may meet again

    c.refinements = 5
    c.steps = 500_000
    c.batch = 8
    c.learning_rate = 1e-4
    c.precision = "float32"
    return c
