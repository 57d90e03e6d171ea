"""The names under which sites and people know cards."""

from __future__ import annotations

import pytest

from hposlurm.gpu_memory import card_gb


@pytest.mark.parametrize(
    ("name", "gb"),
    [
        ("v100", 16),
        ("V100-32", 32),
        ("v100_32GB", 32),
        ("v100-sxm2-32gb", 32),
        ("a100-80g", 80),
        ("a100:40", 40),
        ("H200", 141),
        ("l40s", 48),
        ("rtx2080", None),
        ("v100-24gb", None),
        ("", None),
    ],
)
def test_a_card_is_known_by_its_usual_names_and_no_size_is_guessed(name, gb):
    assert card_gb(name) == gb
