"""The command, in a process of its own: JAX must not have started."""

import os
import subprocess
import sys

import pytest

EXPERIMENT = """
from tests.support import tiny_run


def get_config():
    return tiny_run.experiment()
"""


@pytest.mark.slow
def test_the_command(tmp_path):
    """The data that the experiment names are not there, and its number of devices is not heeded."""
    file = tmp_path / "tiny.py"
    file.write_text(EXPERIMENT)

    def run(*arguments):
        command = [sys.executable, "-m", "faceswap_jax.cli", "compile", f"--config={file}"]
        return subprocess.run(
            [*command, "--config.mesh.persona=2", *arguments],
            env=os.environ | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    result = run("--devices=4", "--personas=4", "--config.batch=2")
    assert result.returncode == 0, result.stderr
    first, second = result.stderr.splitlines()
    assert first == "level 1, 8 px (1 of 2) ..." and second.startswith("level 2, 16 px (2 of 2, ")
    assert "mesh of data 2 x persona 2" in result.stdout
    rows = [line for line in result.stdout.splitlines() if "│ level " in line]
    assert len(rows) == 2 and all("all-reduce along data" in row for row in rows)

    for arguments, message in (
        (["--devices=3"], "config.mesh.persona is 2; choose a divisor of the 3 devices."),
        (["--devices=4", "--personas=3"], "choose a divisor of 3 personas"),
        (["--devices=4", "--config.batch=3"], "does not divide among the mesh"),
        (["--devices=4", "--fit=batch"], "--fit needs --topology"),
        (["--topology=v5e:2x2", "--fit=remat"], "--fit has to have batch, not remat alone"),
    ):
        result = run(*arguments)
        assert (result.returncode, result.stdout) == (2, "") and message in result.stderr
        assert result.stderr.count("\n") == 1
