"""Seeds that are the same in every process and on every machine. Standard library only."""

from __future__ import annotations

import hashlib
import json


def derive_seed(*parts: int | str) -> int:
    """Returns a 31-bit number that depends only on the parts, their order and their types.

    A fixed sampler seed would propose the same points in every wave, so each wave, and each trial's random numbers, use
    a seed that is derived from the study's. `hash()` is salted per process and cannot be used.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF
