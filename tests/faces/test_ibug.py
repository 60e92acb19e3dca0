"""The groups of landmarks."""

from faceswap_jax.faces import ibug


def test_groups_cover_each_landmark_once():
    groups = [ibug.JAW, ibug.RIGHT_BROW, ibug.LEFT_BROW, ibug.NOSE]
    groups += [ibug.RIGHT_EYE, ibug.LEFT_EYE, ibug.OUTER_LIPS, ibug.INNER_LIPS]
    assert [i for group in groups for i in group] == list(range(68))
    assert [*ibug.RIGHT_BROW, *ibug.LEFT_BROW] == list(ibug.BROWS)
    assert [*ibug.OUTER_LIPS, *ibug.INNER_LIPS] == list(ibug.MOUTH)
