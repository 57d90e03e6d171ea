"""Reads an export of `hposlurm best --export`, for a run that repeats the best trial's training. Needs PyYAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """The trial's seed, and each parameter's values by the step from which they apply: {0: …} if it never changed."""

    values: Mapping[str, Mapping[int, Any]]
    seed: int

    def first(self, name: str) -> Any:
        """Returns the parameter's value at step 0. Raises ValueError if the parameter has none there."""
        values = self.values[name]
        if 0 not in values:
            raise ValueError(f"{name} has a value only from step {min(values)} on")
        return values[0]

    def constant(self, name: str) -> Any:
        """Returns the parameter's only value. Raises ValueError if it has several."""
        values = self.values[name]
        if len(values) > 1:
            raise ValueError(f"{name} has no single value: it changes at the steps {', '.join(map(str, values))}")
        return self.first(name)


def read_recipe(path: Path) -> Recipe:
    """Returns the recipe in the file `path`. Raises ValueError if it is not an export, OSError if it is unreadable."""
    import yaml

    try:
        export = yaml.safe_load(path.read_text("utf-8"))
        legs = export["schedule"] or [{"step": 0, "params": export["params"]}]
        values: dict[str, dict[int, Any]] = {}
        for leg in legs:
            for name, value in leg["params"].items():
                changes = values.setdefault(name, {})
                if not changes or changes[max(changes)] != value:
                    changes[int(leg["step"])] = value
        return Recipe(values, int(export["seed"]))
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not an export of `hposlurm best`: {' '.join(str(error).split())}") from error
