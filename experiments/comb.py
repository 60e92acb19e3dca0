"""The comb network, as published (US 2020/0372621).

Reproduces: one encoder and P decoders grown from 4 to 1024 px, Adam 1e-4, 1 - SSIM up to 16 px and 1 - MS-SSIM above,
background-invariant masking (Eq. 2), learning rate 1e-5 for the last 1e5 steps.
Costs: not measured at this size. --config.model.width and --config.level_steps make it smaller; on two CPU cores use
width 0.125 and stop at 64 px, as experiments/comb_cpu.py does.
Expect: not run to the end yet; comb_cpu.py and demo.py have numbers.

Speed beside PyTorch 2.15, the faster of eager and compiled, on two cores of an AMD EPYC, float32, two personas
(python -m experiments.benchmarks.comb_step):

    px     pictures of each    ours, pictures/s    times PyTorch's    memory, GiB
      64          2                  1.98                1.7              1.9
     128          2                  1.26                1.8              2.4
     256          2                  0.65                1.6              3.5
    1024          1                  0.18                1.8              6.0

What wins is Winograd's filtering (models/convolution.py), with a quarter of the multiplications; XLA's own convolutions
reach three quarters of PyTorch's speed at 64 px. GPUs and TPUs are not measured yet.

Many personas: at 64 px, width 1/8 and four pictures each, two CPU cores compile the step for 128 personas in 128 s on
one device, where it needs 5.1 GiB beside the state, and in 15 s for eight devices, where it needs 0.6 GiB on each; for
32 personas on one device in 26 s, for 8 in 7 s (python -m experiments.benchmarks.comb_personas).

    faceswap prepare alice.mp4 bob.mp4 --output data --resolution 1024
    faceswap train --config experiments/comb.py --workdir runs/comb --config.data.path=data
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "autoencoder"
    c.seed = 0
    c.personas = ()  # taken from the data
    c.embedder = ml_collections.ConfigDict()  # its shape is taken from loss.embedder

    c.data = ml_collections.ConfigDict()
    c.data.kind = "tracks"  # "tracks": a folder made by faceswap prepare; "tfds": by Beam; "puppets": rendered
    c.data.path = "data"
    c.data.split = "train"  # whose personas to take
    c.data.manifest = ""  # digest of what the data are, taken from them
    c.data.validation = 0.05  # the last share of every persona's pictures, never trained on
    c.data.warp = (
        0.0  # random deformation of what the encoder sees, in picture widths; the source has none
    )
    c.data.jitter = (
        ml_collections.ConfigDict()
    )  # random misalignment of a picture and its mask; the source has none
    c.data.jitter.update(rotation=0.0, scale=0.0, shift=0.0)  # ± degrees, share, picture widths

    c.augment = (
        ml_collections.ConfigDict()
    )  # random light and colour of what the encoder sees; the source has none
    c.augment.update(
        brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0
    )  # ±, of 0..1; hue in turns

    c.model = ml_collections.ConfigDict()
    c.model.width = 1.0  # of all channel counts
    c.model.latent = 512
    c.model.remat = (
        "none"  # "blocks": compute activations twice instead of keeping them, for large pictures
    )

    c.level_steps = (100_000,) * 9  # of level 0 (4 px) to level 8 (1024 px); 0 skips a level
    c.final_steps = 100_000  # more of the last level, at the final learning rate
    c.batch = 4  # pictures per persona
    c.update_order = (
        "joint"  # all personas at once, shards over devices; "sequential": one by one, as published
    )
    c.learning_rate = 1e-4
    c.final_learning_rate = 1e-5
    c.precision = "float32"

    c.loss = ml_collections.ConfigDict()
    c.loss.masking = "both"  # "target": Eq. 1, "both": Eq. 2
    c.loss.l1 = 0.0  # weights of the source's optional terms
    c.loss.identity = 0.0  # of swapped pictures: 1 - cosine to their persona
    c.loss.cycle = 0.0  # of pictures swapped to another persona and back
    c.loss.latent_cycle = 0.0  # of latents decoded as another persona and encoded again
    c.loss.embedder = (
        ""  # a run of experiments/identity.py, or InsightFace's IResNet (.onnx, .safetensors)
    )
    return c
