"""MC-AAD whose features share one mask: the task of a row of `ablations.py`."""

from faceswap_jax.tasks import attribute


class Task(attribute.Task):
    """What the mask of the attributes leaves, all features share equally."""

    masks = "one"
