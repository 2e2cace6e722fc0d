"""Licences as model cards state them."""

from __future__ import annotations

import pytest

from segx_export.hub.model_card import UNSTATED, licence_of


@pytest.mark.parametrize(
    ("head", "want"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ("license: [mit, apache-2.0]", "mit, apache-2.0"),
        ("license: other\nlicense_name: theirs\nlicense_link: https://example.org/l", "theirs (https://example.org/l)"),
        ("tags: [vision]", UNSTATED),
    ],
)
def test_the_licence_of_a_folder(tmp_path, head, want):
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n# A network\n")
    assert licence_of(str(tmp_path)) == want


def test_a_folder_without_a_model_card_states_none(tmp_path):
    assert licence_of(str(tmp_path)) == UNSTATED
