"""The experiment of the minimal task: faceswap train --config minimal.py --workdir runs/minimal"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """Every value is a flag, such as --config.batch=16."""
    c = configs.defaults()
    c.task = "minimal_task"  # the module with the class Task, which lies beside this file
    c.update({"seed": 0, "steps": 500, "batch": 8, "learning_rate": 1e-3})
    c.data = ml_collections.ConfigDict({"kind": "puppets", "world_seed": 0, "manifest": ""})
    c.data.update({"personas": 1, "frames": 40, "resolution": 32})
    return c
