"""Transfer: anybody's picture with the pose and expression of a clip, in StyleGAN2's latent space (thesis, 2023).

Costs: not measured; work for accelerators. experiments/transfer_puppets.py is for a desk's CPU.
Expect: not measured. The thesis has on 120 people of VoxCeleb2 a pose error of 7.7 degrees, a correlation of 0.62 of
five aspect ratios, and an identity cosine of 0.80 to the inversion, after a million steps; no other data compare.
Reproduces: motion encoder and linear mapping before a frozen generator, a frozen ReStyle for who is shown; L2 and LPIPS
on the middle of pairs of one track, identity on people who are driven by others, with the published weights; Ranger at
1e-5 on batches of 8.

    faceswap train --config experiments/transfer.py --workdir runs/transfer --config.data.path=data \
        --config.networks.perceptual=lpips.npz
    faceswap reenact ann.png --drive performer.mp4 --workdir runs/transfer --output ann_performs.mp4
    faceswap reenact --random 7 --drive performer.mp4 --workdir runs/transfer --output nobody.mp4

The generator is the one that the inversion works in. Public ReStyle weights, which hold both, may take the place of the
run: --config.networks.inversion=restyle_psp_ffhq.safetensors, see docs/transfer.md.

As it costs expression to train on after that is at its best, the checkpoint with the best "cross/expression" stays;
faceswap evaluate and reenact take it by --step.

Ablations: --config.loss.l2=1, the whole picture, at the expense of the expression; --config.loss.cosface=1;
--config.tune=True, the generator's weights learn too, and overfit in the source. The baseline, latent arithmetic, is
the run of the inversion itself: faceswap reenact --workdir runs/inversion, and in one table with the rows of the thesis

    faceswap evaluate --protocol transfer --workdir runs/transfer --beside runs/inversion --data held_out

Choices: a linear layer for each style, which begins with the styles of who is shown as they are; the motion encoder
has ReStyle's heads; noise is the generator's own. tasks/transfer.py says which identity is compared.
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "transfer"
    c.seed = 0
    c.identities = ()  # taken from the data
    c.shapes = ml_collections.ConfigDict()  # of the networks that c.networks names, taken from them

    # Frozen networks
    c.networks = ml_collections.ConfigDict()
    c.networks.inversion = (
        "runs/inversion"  # a run of experiments/inversion.py, with its generator, or a file
    )
    c.networks.identity = "runs/identity"  # a run of experiments/identity.py, or InsightFace's
    c.networks.perceptual = ""  # LPIPS's weights; "": the layers of c.networks.identity
    c.networks.expression = (
        "mediapipe"  # scores expressions; or a run of experiments/expression.py; "": none
    )

    c.data = ml_collections.ConfigDict()
    c.data.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam; "puppets": rendered
    c.data.path = "data"
    c.data.split = "train"  # whose identities to take
    c.data.manifest = ""  # digest of what the data are, taken from them
    c.data.held_out = 0.1  # the last fraction of the identities, never trained on
    c.data.test = 16  # pairs of these that a batch of the evaluations has
    c.data.mirror = True  # mirrors half of the tracks

    c.alignment = "ffhq"  # how faces are cut, see faces/align.py; all networks know it

    c.model = ml_collections.ConfigDict()
    c.model.mapping = "styles"  # a linear layer for each style; "joined": one for all
    # The motion encoder: IR-SE-50
    c.model.blocks = (3, 4, 14, 3)
    c.model.channels = (64, 128, 256, 512)
    c.model.stem = 64

    c.loss = ml_collections.ConfigDict()
    c.loss.l2 = 0.0  # of the whole picture
    c.loss.perceptual = 0.05
    c.loss.l2_crop = 2.0  # of its middle, 188 of 256 px
    c.loss.perceptual_crop = 0.3
    c.loss.identity = 0.3  # of people who are driven by others
    c.loss.cosface = 0.0  # of motions; it costs three passes of the motion encoder more
    c.cosface = ml_collections.ConfigDict()
    c.cosface.update(scale=5.0, margin=0.2)

    c.tune = False  # whether the generator's weights learn, too
    c.steps = 1_000_000
    c.batch = 8
    c.learning_rate = 1e-5
    c.precision = "float32"
    c.run.best = "cross/expression"
    return c
