"""Adapters to other tools' searches. Each runs in that tool's own environment: it and the standard library only."""
