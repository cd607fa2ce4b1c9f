"""app/domain imports the standard library and itself: no framework, no clock, no environment."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from app import domain
from app.settings import PROJECT

FILES = sorted(Path(domain.__file__).parent.glob("**/*.py"))
# In the standard library, and yet the world outside.
WORLD = {"os", "time", "random", "secrets", "socket", "subprocess", "threading", "pathlib", "logging", "io", "sys"}


def imported(file: Path) -> set[str]:
    """The modules that a file imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports, so that they can be checked"
            found.add(str(node.module))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_imports_the_standard_library_and_itself_alone(file: Path) -> None:
    for module in imported(file):
        top = module.partition(".")[0]
        assert module.startswith("app.domain") or (top in sys.stdlib_module_names and top not in WORLD), module


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_asks_no_clock_and_opens_nothing(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("now", "utcnow", "today", "monotonic")
        if isinstance(node, ast.Name):
            assert node.id not in ("open", "print", "input", "__import__", "eval", "exec")


def test_it_runs_where_nothing_is_installed() -> None:
    names = [f"app.domain.{file.stem}" for file in FILES if file.stem != "__init__"]
    # The package `app` wires everything together; a bare one in its place shows that the domain needs none of it.
    program = (
        "import importlib, sys, types\n"
        "app = types.ModuleType('app'); app.__path__ = [sys.argv[1] + '/app']; sys.modules['app'] = app\n"
        "for name in sys.argv[2:]: importlib.import_module(name)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(PROJECT), *names],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["__main__", "app"] or done.stdout.split() == ["app"]
