"""Everything that is written in a study directory, and the only ways to write and read it.

May import space, pruning, trial and errors. Only `history`, `database` and `ancestry` need more than the standard
library's `json`; workers and training scripts import the rest, so it stays within the standard library.
"""
