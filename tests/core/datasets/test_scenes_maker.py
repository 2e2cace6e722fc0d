from __future__ import annotations

import math

from segx_core.datasets.scenes_maker import SEEN_FINISHES, SEEN_TEXTURES, UNSEEN_FINISHES, UNSEEN_TEXTURES, describe
from segx_core.datasets.scenes_world import GROUNDS, THINGS


def test_test_shares_no_texture_or_finish_with_training() -> None:
    assert set(SEEN_TEXTURES) == set(UNSEEN_TEXTURES) == set(GROUNDS)
    seen = {family for families in SEEN_TEXTURES.values() for family in families}
    unseen = {family for families in UNSEEN_TEXTURES.values() for family in families}
    assert not seen & unseen
    assert not set(SEEN_FINISHES) & set(UNSEEN_FINISHES)
    for split, textures, finishes in (
        ("train", seen, SEEN_FINISHES),
        ("val", seen, SEEN_FINISHES),
        ("test", unseen, UNSEEN_FINISHES),
    ):
        made = [describe(3, index, split, 96, 128) for index in range(40)]
        assert {layer.texture.family for scene in made for layer in scene.layers} == textures
        assert {thing.finish for scene in made for thing in scene.things} == set(finishes)
        assert {thing.kind for scene in made for thing in scene.things} == set(THINGS)


def test_every_scene_shows_each_ground() -> None:
    for index in range(20):
        scene = describe(3, index, "train", 96, 128)
        assert {layer.kind for layer in scene.layers} == set(GROUNDS)


def test_a_scene_is_a_value() -> None:
    assert describe(1, 2, "val", 96, 128) == describe(1, 2, "val", 96, 128)
    assert describe(1, 2, "val", 96, 128) != describe(1, 3, "val", 96, 128)


def test_depth_orders_the_painting_and_what_is_hidden() -> None:
    for index in range(10):
        scene = describe(3, index, "train", 96, 128)
        depths = [item.depth for item in scene.by_depth()]
        assert depths == sorted(depths, reverse=True)
        assert scene.covered_from(0) == scene.height
        for layer in scene.layers:
            assert scene.covered_from(math.inf) <= layer.trough
            assert all(layer.crest_at(x) <= layer.trough for x in range(128))
