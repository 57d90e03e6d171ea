"""The one exception of the developer's cluster."""

from __future__ import annotations


class ClusterError(Exception):
    """What is wrong, in a sentence or two for the person at the keyboard."""
