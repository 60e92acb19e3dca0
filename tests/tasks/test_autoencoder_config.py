"""Wrong values of an autoencoder experiment."""

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.tasks.autoencoder import Task
from tests.support.small_comb import config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("level_steps", (0, 0)),
        ("level_steps", (5, 5)),
        ("level_steps", (0, 0, -4, 4)),
        ("level_steps", (0, 0, 4, 0, 4)),
        ("level_steps", (1,) * 10),
        ("update_order", "both"),
        ("precision", "float16"),
        ("batch", 0),
        ("seed", -1),
        ("final_steps", -5),
        ("model.width", -1.0),
        ("model.remat", "all"),
        ("alignment", "nose"),
        ("model.network", "no_such_module"),
        ("data.validation", 2.0),
        ("data.warp", -0.1),
        ("data.jitter.rotation", -1.0),
        ("data.jitter.scale", 1.0),
        ("augment.hue", -0.1),
        ("loss.masking", "none"),
        ("loss.expression", -0.1),
    ],
)
def test_wrong_values_are_named(field, value):
    c = config()
    c.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=field):
        Task(c)
