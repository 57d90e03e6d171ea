"""The trial of a simulated study: a Python function of the parameters and the steps that yields rows."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hposlurm.errors import RequestError
from hposlurm.records.journal import metric_value
from hposlurm.trial import Params, is_finite

#: `function(params, from_step, to_step)` returns the rows that training from one step to the other reports. `to_step`
#: None means the function's own end. The function may also take two arguments by name: `seed` is the trial's seed,
#: `checkpoint` is that of the row from which training continues (None at the beginning).
TrialFunction = Callable[..., Iterable[tuple[Any, ...]]]

_EXTRAS = ("seed", "checkpoint")


class Row(NamedTuple):
    """One report. A function may also yield plain tuples (step, metrics, seconds)."""

    #: Greater than `from_step` and the steps of earlier rows, and at most `to_step`.
    step: int
    metrics: Mapping[str, float | str]
    #: The training time since `from_step`.
    seconds: float
    #: Any object; the function gets it back if training continues after this row.
    checkpoint: object = None


class Trainer:
    """A trial function whose signature and answers are checked; `name` is its name in error messages."""

    def __init__(self, function: TrialFunction, name: str = "") -> None:
        self._function = function
        self._name = name or getattr(function, "__qualname__", repr(function))
        self._extras = _check_signature(function, self._name)

    def rows(
        self, params: Params, from_step: int, to_step: int | None, *, seed: int, checkpoint: object = None
    ) -> Iterator[Row]:
        """Yields the rows of one training run, each computed only when it is needed.

        Raises RequestError for an answer that breaks the contract, and any error of the function itself.
        """
        extras = {"seed": seed, "checkpoint": checkpoint}
        answer = self._function(dict(params), from_step, to_step, **{name: extras[name] for name in self._extras})
        try:
            given = iter(answer)
        except TypeError:
            raise self._wrong(params, f"{answer!r:.80} instead of rows (step, metrics, seconds)") from None
        last = Row(from_step, {}, 0.0)
        for answered in given:
            row = self._row(params, answered)
            if row.step <= last.step:
                raise self._wrong(params, f"step {row.step} after step {last.step}; steps must ascend")
            if to_step is not None and row.step > to_step:
                raise self._wrong(params, f"step {row.step}, but it had to stop at step {to_step}")
            if row.seconds < last.seconds:
                raise self._wrong(
                    params, f"{row.seconds:g} s at step {row.step} after {last.seconds:g} s: they must not decrease"
                )
            last = row
            yield row

    def _row(self, params: Params, answered: object) -> Row:
        if not isinstance(answered, tuple | list) or not 3 <= len(answered) <= 4:
            raise self._wrong(params, f"{answered!r:.80} as a row; it must be (step, metrics, seconds)")
        step, metrics, seconds = answered[:3]
        try:
            step = int(step.__index__())
        except (AttributeError, TypeError):
            raise self._wrong(params, f"the step {step!r:.40}; it must be a whole number") from None
        if not isinstance(metrics, Mapping) or not all(isinstance(name, str) for name in metrics):
            raise self._wrong(
                params, f"the metrics {metrics!r:.80} at step {step}; they must be a dict of names and numbers"
            )
        time = metric_value(seconds)
        if not is_finite(time) or time < 0:
            raise self._wrong(params, f"{seconds!r:.40} s at step {step}; it must be a number, 0 or more")
        shown = {name: metric_value(value) for name, value in metrics.items()}
        return Row(step, shown, time, answered[3] if len(answered) > 3 else None)

    def _wrong(self, params: Params, what: str) -> RequestError:
        shown = ", ".join(f"{name}={value}" for name, value in params.items())
        return RequestError(f"{self._name} answered {what} (parameters: {shown:.300})")


def _check_signature(function: TrialFunction, name: str) -> tuple[str, ...]:
    """Returns which of `seed` and `checkpoint` the function takes; raises RequestError if it cannot be called."""
    if not callable(function):
        raise RequestError(f"{name} is {function!r:.60}, which cannot be called")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return ()
    named = signature.parameters.values()
    takes_all = any(p.kind is p.VAR_KEYWORD for p in named)
    extras = tuple(extra for extra in _EXTRAS if takes_all or extra in signature.parameters)
    try:
        signature.bind({}, 0, None, **dict.fromkeys(extras))
    except TypeError as error:
        raise RequestError(f"{name}{signature} cannot be called as (params, from_step, to_step): {error}") from None
    return extras


def load_function(place: str, beside: Path | None = None) -> Trainer:
    """Returns the function that `MODULE:NAME` or `FILE.py:NAME` names.

    Searches the working directory, then `beside`, then Python's own module path. Raises RequestError with the reason
    if the function cannot be loaded.
    """
    directories = [Path.cwd(), *([] if beside is None else [beside.absolute()])]
    module_name, _, name = place.rpartition(":")
    if not module_name or not name:
        raise RequestError(f"{place!r} does not name a function; write MODULE:FUNCTION or FILE.py:FUNCTION")
    try:
        module = (_from_file if module_name.endswith(".py") else _imported)(module_name, directories)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.split(".")[0] == error.name.split(".")[0]:
            looked = ", ".join(dict.fromkeys(map(str, directories)))
            raise RequestError(f"there is no module {error.name!r} in {looked} or installed") from None
        raise RequestError(f"importing {module_name} failed: {error}") from error
    except RequestError:
        raise
    except Exception as error:  # the user's module may raise anything
        raise RequestError(f"importing {module_name} failed: {type(error).__name__}: {error}") from error
    try:
        return Trainer(getattr(module, name), place)
    except AttributeError:
        own = (key for key, value in vars(module).items() if inspect.isfunction(value) and not key.startswith("_"))
        there = ", ".join(sorted(own)) or "none"
        raise RequestError(f"{module_name} has no {name!r}; functions there: {there}") from None


def _imported(name: str, directories: Sequence[Path]) -> Any:
    with _searched(directories):
        return importlib.import_module(name)


def _from_file(name: str, directories: Sequence[Path]) -> Any:
    places = [directory / name for directory in dict.fromkeys(directories)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise RequestError(f"there is no file {' or '.join(map(str, dict.fromkeys(places)))}")
    spec = importlib.util.spec_from_file_location("simulated_trial", found)
    if spec is None or spec.loader is None:
        raise RequestError(f"{found} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    with _searched([found.parent]):  # it may import its neighbours, as a script may
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _searched(directories: Sequence[Path]) -> Iterator[None]:
    before = list(sys.path)
    sys.path[:0] = dict.fromkeys(map(str, directories))
    try:
        yield
    finally:
        sys.path[:] = before
