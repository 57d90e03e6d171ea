"""The memory of graphics cards."""

from __future__ import annotations

#: Gigabytes (1e9 bytes are less: vendors mean 2**30 here, and so do Slurm and nvidia-smi) by how Slurm's gres and
#: people name the cards. Where a card exists in two sizes, the name without a size is the smaller one.
CARDS_GB = {
    "v100": 16,
    "v100-16": 16,
    "v100-32": 32,
    "a100": 40,
    "a100-40": 40,
    "a100-80": 80,
    "h100": 80,
    "h200": 141,
    "l40s": 48,
}
_SEPARATORS = str.maketrans({"_": "-", ":": "-"})


def card_gb(name: str) -> int | None:
    """Returns the memory of the card that is called so, in any case and with `_` for `-`; None for an unknown one.

    Sites append sizes in several ways: V100_32GB, a100-80g, "v100-sxm2-32gb".
    """
    text = name.lower().translate(_SEPARATORS)
    if text in CARDS_GB:
        return CARDS_GB[text]
    parts = text.split("-")
    size = parts[-1].removesuffix("b").removesuffix("g")
    named = f"{parts[0]}-{size}"
    return CARDS_GB.get(named, CARDS_GB.get(parts[0]) if not size.isdecimal() else None)
