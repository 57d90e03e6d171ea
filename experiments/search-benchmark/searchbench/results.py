"""One line of JSON per study, so that an interrupted comparison goes on; and what they come to, as Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

from searchbench.clock import Course
from searchbench.tasks import Task

_KEY = ("task", "algorithm", "workers", "seed")
_FLOOR = 0.001  # regrets below it count as it in a geometric mean: what is nearly solved shall not decide alone
Result = dict[str, Any]


def score(task: Task, course: Course, points: Sequence[float]) -> Result:
    """Regret after the time of so many full trainings, and after how many the best of 4,000 random configurations was
    reached (None: not). Regret 1: the median random configuration, 0: the best that is known."""
    lowest, middle, best_of_random, full_s = task.scale
    at = [min((loss for when, loss in course.found if when <= p * full_s), default=middle) for p in points]
    return {
        "regret": [round(max(0.0, (loss - lowest) / (middle - lowest)), 5) for loss in at],
        "reaches_random": next((round(w / full_s, 2) for w, loss in course.found if loss <= best_of_random), None),
        "ended_at": {str(step): n for step, n in sorted(course.ended_at.items()) if n},
    }


def read(path: Path) -> list[Result]:
    """The results so far. A last line that is torn, by a machine that went down, is as if it were not there."""
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def append(path: Path, result: Result) -> None:
    with path.open("r+" if path.exists() else "w+") as file:
        text = file.read()
        file.seek(len(text[: text.rfind("\n") + 1].encode()))
        file.truncate()
        file.write(json.dumps(result) + "\n")


def key(result: Result) -> tuple[Any, ...]:
    return (*(result[name] for name in _KEY), *result["points"])


def per_task(results: Sequence[Result]) -> str:
    """A row for each task and algorithm: medians over the seeds."""
    head = f"| task | algorithm | workers | seeds | {_head(results)} | best of 4,000 random after |"
    lines = [head, "|---" * 6 + "|"]
    for (task, algorithm, workers), group in _groups(results, ("task", "algorithm", "workers")).items():
        cells = (task, algorithm, workers, len(group), _regrets(_medians(group)), _reaches(group))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def per_algorithm(results: Sequence[Result]) -> str:
    """A row for each algorithm: the geometric mean over the tasks of the medians over the seeds."""
    head = f"| algorithm | tasks | seeds | {_head(results)} | best of 4,000 random reached on |"
    lines = [head, "|---" * 5 + "|"]
    for (algorithm,), group in _groups(results, ("algorithm",)).items():
        tasks = list(_groups(group, ("task",)).values())
        columns = zip(*[_medians(studies) for studies in tasks], strict=True)
        means = [math.exp(mean(math.log(max(_FLOOR, value)) for value in column)) for column in columns]
        seeds = sorted({len(studies) for studies in tasks})
        reached = sum(_reaches(studies) != "–" for studies in tasks)
        span = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        lines.append(f"| {algorithm} | {len(tasks)} | {span} | {_regrets(means)} | {reached} of {len(tasks)} |")
    return "\n".join(lines)


def census(results: Sequence[Result]) -> str:
    """A row for each algorithm: how many trials of a study got how far, on average."""
    lines = ["| algorithm | studies | trials that ended, or were last paused, at step |", "|---" * 3 + "|"]
    for (algorithm,), group in _groups(results, ("algorithm",)).items():
        steps = sorted({int(step) for result in group for step in result["ended_at"]})
        counts = [(step, mean(result["ended_at"].get(str(step), 0) for result in group)) for step in steps]
        lines.append(f"| {algorithm} | {len(group)} | {', '.join(f'{step}: {n:.0f}' for step, n in counts)} |")
    return "\n".join(lines)


def _head(results: Sequence[Result]) -> str:
    """Results of one table have the same points."""
    points = results[0]["points"] if results else ()
    return "regret at " + "/".join(f"{point:g}" for point in points)


def _groups(results: Iterable[Result], names: Sequence[str]) -> dict[tuple[Any, ...], list[Result]]:
    found: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        found.setdefault(tuple(result[name] for name in names), []).append(result)
    return found


def _medians(group: Sequence[Result]) -> list[float]:
    return [median(column) for column in zip(*(result["regret"] for result in group), strict=True)]


def _reaches(group: Sequence[Result]) -> str:
    middle = median(float("inf") if r["reaches_random"] is None else r["reaches_random"] for r in group)
    return "–" if math.isinf(middle) else f"{middle:.1f}"


def _regrets(values: Sequence[float]) -> str:
    return "/".join(f"{value:.3f}" for value in values)
