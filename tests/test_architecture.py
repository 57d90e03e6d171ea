"""What holds for the source as a whole. The one-way import rule itself is in pyproject.toml (import-linter)."""

from __future__ import annotations

import ast
import itertools
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "hposlurm"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Run on compute nodes or are imported by training scripts: the standard library alone, so that they start at once
STANDARD_LIBRARY_ONLY = ["worker", "client", "records", "space", "pruning", "trial", "errors"]
HOMES = {
    "optuna": {"search", "publish"},
    "optuna_dashboard": {"dashboard"},
    "mlflow": {"publish"},
    "submitit": {"backend"},
    "tensorboard": {"publish"},
    "typer": {"cli"},
    "torch": {"integrations", "search"},  # Optuna's Gaussian process computes with it, and needs its threads bounded
    "transformers": {"integrations"},
    "matplotlib": {"report"},
    "wandb": {"publish"},
}
# A process may start modules of its own room and of lower ones. The exceptions, and why they stay:
UPWARD_STARTS = {
    # the search does not fit into a worker, which needs only the standard library; people's templates start workers
    ("worker", "refill"),
    # the script of a planner job, by which a study goes on after its launch
    ("backend", "__main__"),
}
_CONTAINERS = ("dict", "list", "set", "OrderedDict", "defaultdict", "WeakKeyDictionary", "WeakValueDictionary")
SOURCES = ["hposlurm", "templates", "experiments", "scripts", "tests", ".ci"]
TEXT = {".py", ".sh", ".md", ".toml", ".yaml", ".yml", ".j2", ".txt", ""}


def name_of(path: Path) -> str:
    """`hposlurm.worker.run` for its file, `hposlurm.worker` for the package's `__init__.py`."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path, *, everywhere: bool) -> Iterator[str]:
    """Names of the imported modules: all of them, or only those that importing the file itself imports."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(), str(path))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _imported_from(path, node)
        elif everywhere or not _runs_later(node):
            waiting.extend(ast.iter_child_nodes(node))


def _imported_from(path: Path, node: ast.ImportFrom) -> Iterator[str]:
    package = name_of(path).split(".")
    if node.level:  # relative: "." is the package that the file lies in
        base = package if path.name == "__init__.py" else package[:-1]
        base = base[: len(base) - node.level + 1]
    else:
        base = []
    module = ".".join([*base, *([node.module] if node.module else [])])
    yield from (f"{module}.{alias.name}" if module == "hposlurm" else module for alias in node.names)


def _runs_later(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return True
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize("path", [m for m in MODULES if room(name_of(m)) in STANDARD_LIBRARY_ONLY], ids=name_of)
def test_what_runs_on_compute_nodes_needs_only_the_standard_library(path: Path) -> None:
    for module in imports(path, everywhere=False):
        if module.startswith("hposlurm."):
            assert room(module) in [*STANDARD_LIBRARY_ONLY, "__version__"], f"{name_of(path)} imports {module}"
        else:
            assert module.split(".")[0] in sys.stdlib_module_names, f"{name_of(path)} imports {module}"


@pytest.mark.parametrize(("library", "home"), HOMES.items())
def test_each_outside_library_has_one_home(library: str, home: set[str]) -> None:
    users = {room(name_of(m)) for m in MODULES if library in {i.split(".")[0] for i in imports(m, everywhere=True)}}
    assert users == home


#: Run as processes of their own, or inside of a training script: they have only their output to say something.
PROCESSES = {
    "hposlurm.client",
    "hposlurm.worker.__main__",
    "hposlurm.refill.__main__",
    "hposlurm.doctor.race",
    "hposlurm.integrations.torch_facts",
}


@pytest.mark.parametrize("path", [m for m in MODULES if room(name_of(m)) != "cli"], ids=name_of)
def test_only_the_command_line_prints_and_asks(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert name_of(path) in PROCESSES or not called & {"print", "input"}


def floors() -> dict[str, int]:
    """The floor of each room in the import contract, counted from the top."""
    contract = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    return {name.strip(): i for i, layer in enumerate(contract["layers"]) for name in re.split("[|:]", layer)}


def starts() -> Iterator[tuple[str, str]]:
    """The room that starts a process, and the room of the module that it starts, for every start in the package."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple):
                words = [element.value if isinstance(element, ast.Constant) else None for element in node.elts]
                yield from (
                    (room(name_of(path)), room(word) or "__main__")
                    for flag, word in itertools.pairwise(words)
                    if flag == "-m" and isinstance(word, str) and word.split(".")[0] == "hposlurm"
                )
            elif isinstance(node, ast.Constant) and str(node.value).endswith(".sbatch.j2"):
                text = (REPOSITORY / "templates" / Path(node.value).name).read_text()
                modules = re.findall(r" -m (hposlurm[.\w]*)", text)
                yield from ((room(name_of(path)), room(module) or "__main__") for module in modules)


def test_no_process_starts_a_module_of_a_higher_room() -> None:
    floor, found = floors(), set(starts())
    assert {("backend", "worker"), ("doctor", "integrations"), ("doctor", "doctor")} <= found
    assert {(by, what) for by, what in found if floor[what] < floor[by]} == UPWARD_STARTS


def test_every_file_fits_into_one_head() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_no_file_knows_the_machine_that_it_was_written_on() -> None:
    absolute = re.compile(r"(?<![\w.~}$])/(?:work|home/\w+|root)/[\w.]")
    files = [p for folder in SOURCES for p in (REPOSITORY / folder).rglob("*") if p.suffix in TEXT and p.is_file()]
    files += [p for p in REPOSITORY.iterdir() if p.suffix in {".md", ".toml"}]
    assert len(files) > 50
    found = [f"{path}: {hit.group()}" for path in files for hit in absolute.finditer(path.read_text(errors="replace"))]
    assert found == []


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/__init__.py")), ids=name_of)
def test_every_room_says_what_it_is_for_and_what_it_may_import(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert text.count(".") >= 2 and "ay import" in text


def test_no_two_public_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text(), str(path)).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(name_of(path))
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_no_module_keeps_a_cache() -> None:
    """An empty container at the top of a module waits to be filled: a cache without an owner."""
    found = []
    for path in MODULES:
        if name_of(path) == "hposlurm.client":  # a training process has one trial: what it reported is that process's
            continue
        for node in ast.parse(path.read_text(), str(path)).body:
            value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
            is_empty = isinstance(value, ast.Dict | ast.List) and not ast.unparse(value).strip("{}[]")
            is_made = isinstance(value, ast.Call) and ast.unparse(value.func) in _CONTAINERS and not value.args
            if is_empty or is_made:
                found.append(f"{name_of(path)}:{node.lineno}")
    assert found == []


def test_no_pattern_repeats_a_group_possessively() -> None:
    """Python before 3.11.5 matches such a repeat wrongly (https://github.com/python/cpython/issues/106052)."""
    found = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [f"{name_of(path)}:{node.lineno}" for _ in re.finditer(r"\)[*+?]\+|\(\?>", node.value)]
    assert found == []


def test_only_one_module_deletes_trees() -> None:
    """shutil.rmtree crosses mounts; `records.trees` follows no link and enters no other file system."""
    assert [name_of(path) for path in MODULES if "rmtree" in path.read_text()] == []


#: Word order and words of another language in English sentences; "the only", "after", "not a" say the same.
FOREIGN = re.compile(
    r"^(What|Whether|Who|Those) |\b(whoever|anew|nobody|everybody)\b|\b(?:is|are|was) no (?!longer)| alone[.,;:]"
)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_docstrings_are_plain_english(path: Path) -> None:
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    assert [text for text in texts if FOREIGN.search(re.sub(r"[Tt]here (?:is|are|was) no ", "", text))] == []
