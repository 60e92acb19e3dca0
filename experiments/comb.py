"""The comb network, as published (US 2020/0372621).

Costs: 1,000,000 steps; the time of all of them is not measured. At the published width, two personas and two images of
each, a step takes 2.0 s at 64 px, 3.2 s at 128 px and 6.2 s at 256 px on two cores of an AMD EPYC, and needs 1.9, 2.4
and 3.5 GiB; with one image of each, 11 s and 6.0 GiB at 1024 px. So this is work for GPUs or TPUs, which are not
measured. experiments/comb_cpu.py is for a desk's CPU.
Expect: not measured at this size; comb_cpu.py, comb_puppets.py and demo.py have numbers.
Needs: images of 1024 px. Data of 256 px end at level 6: --config.level_steps="100000,100000,100000,100000,100000,
100000,100000" (without spaces). The final steps are then as many as those of the last level that is trained.
Reproduces: one encoder and P decoders grown from 4 to 1024 px, Adam 1e-4, 1 - SSIM up to 16 px and 1 - MS-SSIM above,
background-invariant masking (Eq. 2), learning rate 1e-5 for the last 1e5 steps.

    faceswap prepare alice.mp4 bob.mp4 --output data --resolution 1024
    faceswap train --config experiments/comb.py --workdir runs/comb --config.data.path=data

Many personas: at 64 px, width 1/8 and four images each, two CPU cores compile the step for 128 personas in 128 s on one
device, where it needs 5.1 GiB beside the state, and in 15 s for eight devices, where it needs 0.6 GiB on each; for 32
personas on one device in 26 s, for 8 in 7 s (python -m experiments.benchmarks.personas).
"""

import ml_collections
from ml_collections.config_dict import placeholder

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "autoencoder"
    c.seed = 0
    c.personas = ()  # taken from the data
    c.embedder = ml_collections.ConfigDict()  # its shape is taken from loss.embedder

    c.data = _data()

    # Random light and colour of what the encoder sees, ± of 0..1; hue in turns. The source has none.
    c.augment = ml_collections.ConfigDict()
    c.augment.update(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)

    c.alignment = "eyes"  # how faces are cut, see faces/align.py
    c.model = _model()

    # Trained weights to begin with: a run's folder, a file, or "puppets", which ships; "": none
    c.init = ""
    c.freeze = ml_collections.ConfigDict()
    c.freeze.steps = 0  # for which the modules below are held still
    c.freeze.modules = ""  # "encoder", "tied", "mean" or names of personas, with commas between

    c.level_steps = (100_000,) * 9  # of level 0 (4 px) to level 8 (1024 px); 0 skips a level
    # More of the last level, at the final learning rate; as many as its own steps if not given.
    c.final_steps = placeholder(int)
    c.batch = 4  # images per persona
    c.personas_per_step = placeholder(int)  # so many of them by turns, where there are very many
    # "joint": all personas at once, spreads over devices; "sequential": one by one, as published
    c.update_order = "joint"
    c.optimizer = "adam"  # "adam", as published; "adabelief"; "muon": rates a hundred times as high
    c.learning_rate = 1e-4
    c.final_learning_rate = 1e-5
    c.persona_rate = 1.0  # of the personas' own weights, times the learning rate
    c.average = 0.0  # decay of the running mean of the weights that is used after training; 0: none
    c.precision = "float32"

    c.loss = _loss()
    return c


def _data() -> ml_collections.ConfigDict:
    """What is trained on."""
    c = ml_collections.ConfigDict()
    c.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam; "puppets": rendered
    c.path = "data"
    c.split = "train"  # whose personas to take
    c.manifest = ""  # digest of what the data are, taken from them
    c.validation = 0.05  # the last fraction of every persona's images, never trained on
    # Random deformation of what the encoder sees, in image widths; the source has none.
    c.warp = 0.0
    # Mirrors half of the images. It teaches moles and partings on both sides, so real personas do without.
    c.mirror = False
    # Personas of a step show the same performances, as puppets made with --together do: swaps have a truth to learn.
    c.together = False
    # Random misalignment of an image and its mask: ± degrees, fraction, image widths; the source has none.
    c.jitter = ml_collections.ConfigDict()
    c.jitter.update(rotation=0.0, scale=0.0, shift=0.0)
    return c


def _model() -> ml_collections.ConfigDict:
    """The shape of the network."""
    c = ml_collections.ConfigDict()
    c.network = "comb"  # a module of faceswap_jax/models, or "my_package.module"
    c.width = 1.0  # of all channel counts
    c.channels = ()  # of level 0 and up at width 1, in place of the published ones
    c.latent = 512
    c.mean_decoder = False  # whether decoders are a mean one plus what is a persona's own
    # "blocks" computes activations twice instead of keeping them, for large images
    c.remat = "none"
    return c


def _loss() -> ml_collections.ConfigDict:
    """What is minimised."""
    c = ml_collections.ConfigDict()
    c.masking = "both"  # "target": Eq. 1, "both": Eq. 2
    # Weights of the source's optional terms:
    c.l1 = 0.0  # mean absolute difference over the face
    c.parts = 1.0  # not of the source: how much more than the rest eyes and mouth count in L1
    # Not of the source: 1 - SSIM of eyes and mouth, seen closer
    c.details = 0.0
    # Not of the source: how much the personas' latents differ, losses/latents.py
    c.matching = 0.0
    # Not of the source: how badly latents tell gaze, lids, brows and mouth, losses/expression.py
    c.expression = 0.0
    c.identity = 0.0  # of swapped images: 1 - cosine to their persona
    c.cycle = 0.0  # of images swapped to another persona and back
    c.latent_cycle = 0.0  # of latents decoded as another persona and encoded again
    # A run of experiments/identity.py, or InsightFace's IResNet (.onnx, .safetensors)
    c.embedder = ""
    return c
