"""Images of many puppets, labelled."""

import numpy as np
import pytest

from data_pipelines.prepare.contact_sheet import CELL, LINE, SAMPLES, corner
from data_pipelines.puppets import sheet
from data_pipelines.puppets.dataset import PuppetClips
from data_pipelines.puppets.parameters import Performance
from data_pipelines.puppets.sheet import grid_corner, performance_grid, write_contact_sheet
from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.errors import InputError
from faceswap_jax.faces.picture import read_picture


def test_the_contact_sheet_shows_moments_of_every_puppet(tmp_path, monkeypatch):
    clips = PuppetClips.regular(0, range(3), range(2), 5, 32, 8.0)
    picture = read_picture(write_contact_sheet(tmp_path, clips))
    shown = render_frame(0, 1, 1, 4, CELL, 8.0).image  # the last moment of the second puppet
    x, y = corner(row=1, column=SAMPLES - 1)
    assert np.array_equal(picture[y : y + CELL, x : x + CELL], shown)
    monkeypatch.setattr(sheet, "ROWS", 2)
    assert read_picture(write_contact_sheet(tmp_path, clips)).shape[0] == picture.shape[0] - LINE
    with pytest.raises(InputError, match="cannot be written"):
        write_contact_sheet(tmp_path / "nowhere", clips)


def test_few_frames_show_once(tmp_path):
    """A puppet with fewer frames than a line has room for."""
    picture = read_picture(
        write_contact_sheet(tmp_path, PuppetClips.regular(0, range(1), range(1), 1, 32, 8.0))
    )
    empty = picture[:, -SAMPLES * CELL // 2 :]
    assert (empty == 255).all()


def test_a_grid_has_personas_down_and_performances_across():
    size = 48
    performances = {"shut": Performance(), "open": Performance(mouth_open=1.0)}
    grid = performance_grid(0, range(2), performances, size).astype(int)

    def cell(row, column):
        x, y = grid_corner(row, column, size)
        return grid[y : y + size, x : x + size]

    x, y = grid_corner(1, 1, size)
    assert grid.shape == (y + size, x + size, 3)
    for row in (0, 1):
        change = np.abs(cell(row, 1) - cell(row, 0)).sum(-1) > 30
        assert change.any() and not change[: size // 2].any()  # below the eyes only
    assert np.abs(cell(0, 0) - cell(1, 0)).mean() > 5


def test_a_grid_names_its_columns_and_lines():
    size = 48
    grid = performance_grid(0, range(2), {"shut": Performance(), "wide": Performance()}, size)
    left, top = grid_corner(0, 0, size)
    for column in (0, 1):
        x, _ = grid_corner(0, column, size)
        assert (grid[:top, x : x + size] < 128).any()
    names = [
        grid[y : y + size, :left] for _, y in (grid_corner(0, 0, size), grid_corner(1, 0, size))
    ]
    assert all((name < 128).any() for name in names)
    assert (names[0] != names[1]).any()
