"""What `hposlurm best --export` wrote, for a single run that trains as the best trial was trained. Needs PyYAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """Each parameter's values by the step from which they hold, {0: …} where it never changed; and the trial's seed."""

    values: Mapping[str, Mapping[int, Any]]
    seed: int

    def first(self, name: str) -> Any:
        """The parameter's value at the beginning; raises ValueError if it was not there yet."""
        values = self.values[name]
        if 0 not in values:
            raise ValueError(f"{name} is there from step {min(values)} on alone")
        return values[0]

    def constant(self, name: str) -> Any:
        """The parameter's one value; raises ValueError if it has several."""
        values = self.values[name]
        if len(values) > 1:
            raise ValueError(f"{name} has no single value: it changes at the steps {', '.join(map(str, values))}")
        return self.first(name)


def read_recipe(path: Path) -> Recipe:
    """The recipe in the file at `path`; raises ValueError if it is no export, and OSError if it cannot be read."""
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
        raise ValueError(f"{path} is no export of `hposlurm best`: {' '.join(str(error).split())}") from error
