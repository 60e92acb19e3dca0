"""Detector of fakes: which faces a run has made, and whether who can tell those can tell another run's.

Costs: 348 thousand weights. 600 steps take half a minute on a part of two busy cores, less than making the fakes.
Expect: of 12 puppets never seen, fakes of the system that it has learned from have an area under the ROC curve of 0.95
(MC-AAD after 624 steps) and 0.88 (the demo's decoders), those of the other 0.5 to 0.7. At the threshold 0 accuracies
are 0.7 and 0.8, and 0.5 to 0.6: real faces pass, and so do many fakes. Real people were not tried.
Reproduces: nothing published. Network and cross entropy are those of the discriminator of experiments/attribute.py.

    faceswap prepare clips --output real --resolution 64
    faceswap synthesize --workdir runs/attribute --identities known/lend --attributes known/clips --output fakes/known
    faceswap synthesize --workdir runs/attribute --identities others/lend --attributes others/clips \
        --output fakes/others
    faceswap train --config experiments/detector.py --workdir runs/detector --config.data.path=real \
        --config.fakes.attribute="('fakes/known', 'fakes/others')"

`others/clips` has the last quarter of the people of `clips`, `known/clips` all before them; `lend` has a few of these.
Swaps are made clip by clip and prepared as the real ones are: --config.fakes.comb=swapped.

Traps, of which docs/detector.md tells more: a codec, a background or a persona that is on one side alone is found in
place of fakes; a few people say little of others; and a detector of one system says next to nothing of another's.
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "detector"
    c.seed = 0
    c.identities = ()  # taken from the data

    # Real faces
    c.data = ml_collections.ConfigDict()
    c.data.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam
    c.data.path = "real"
    c.data.split = "train"  # whose identities to take, of the fakes too
    c.data.manifest = ""  # digests of what the data are, real and fake, taken from them
    c.data.held_out = 0.25  # the last fraction of the identities, never trained on, real or fake
    c.data.test = 256  # images that the evaluations look at: real ones, and so many of each system
    # Random misalignment of an image: ± degrees, fraction, image widths
    c.data.jitter = ml_collections.ConfigDict()
    c.data.jitter.update(rotation=4.0, scale=0.04, shift=0.02)

    # Fakes of each system, in data sets like that of the real faces, whose personas have the same names; (): none
    c.fakes = ml_collections.ConfigDict()
    c.fakes.attribute = ("fakes",)
    c.fakes.comb = ()
    c.fakes.x2face = ()
    c.trained_on = ("attribute",)  # those that it learns from; the others are only scored

    c.alignment = "eyes"  # how faces are cut, see faces/align.py
    c.resolution = 64  # of the aligned crops, pixels
    c.blur = 0.01  # standard deviation in image widths, up to this
    # Random light and colour, ± of 0..1; hue in turns
    c.augment = ml_collections.ConfigDict()
    c.augment.update(brightness=0.05, contrast=0.1, saturation=0.0, hue=0.0)

    c.model = ml_collections.ConfigDict()
    c.model.halvings = 4  # of what each scale sees
    c.model.scales = 2
    c.model.width = 0.25

    c.steps = 600
    c.batch = 32  # real images, and as many fakes of each system that is learned
    c.warm_up = 50
    c.learning_rate = 1e-3  # falls to zero along a cosine
    c.precision = "float32"

    c.mesh.cpu_devices = 1
    c.run.update(preview=100, checkpoint=200)
    return c
