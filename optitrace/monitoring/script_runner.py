"""Runs a program in this process as `python` runs it: a script by its path, a module by its name."""

from __future__ import annotations

import builtins
import importlib.util
import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from traceback import walk_stack
from types import ModuleType
from zipfile import is_zipfile

from optitrace.errors import UsageError, quoted
from optitrace.records.training import Program

CALLS_OF_HOOKS = 16
"""How many calls there are, at most, between one of torch's and the watcher's, which has room of its own."""


def check_program(program: Program) -> None:
    """See that there is such a program, before anything is done for it.

    Raises:
        UsageError: there is none.
    """
    name = program.arguments[0]
    if program.is_module:
        _check_module(name)
    elif not os.path.exists(name):
        raise UsageError(f"there is no script {quoted(name)}; name a file, or a module with -m.")
    elif os.path.isdir(name) and not os.path.isfile(os.path.join(name, "__main__.py")):
        raise UsageError(f"{quoted(name)} is a folder without __main__.py; name the script in it.")


def run_program(program: Program) -> None:
    """Run a program to its end, as `__main__`, with its arguments and its folder in place.

    Whatever the program raises is raised, `SystemExit` and `KeyboardInterrupt` among it.
    """
    with _all_depth():
        _run(program)


@contextmanager
def _all_depth() -> Iterator[None]:
    """While entered, leave a program as many calls in each other as it has where nothing is below it."""
    before = sys.getrecursionlimit()
    with_ours = before + sum(1 for _ in walk_stack(None)) + CALLS_OF_HOOKS
    sys.setrecursionlimit(with_ours)
    try:
        yield
    finally:
        if sys.getrecursionlimit() == with_ours:
            sys.setrecursionlimit(before)


def _run(program: Program) -> None:
    name = program.arguments[0]
    sys.argv[:] = program.arguments
    if program.is_module:
        sys.path[0] = os.getcwd()
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif os.path.isdir(name) or (os.path.isfile(name) and is_zipfile(name)):  # a pipe is opened only once
        sys.path.pop(0)
        runpy.run_path(name, run_name="__main__")
    else:
        sys.path[0] = os.path.dirname(os.path.realpath(name))
        _run_script(os.path.abspath(name))  # as Python has it, so that it holds wherever the script goes


def _run_script(path: str) -> None:
    """Run a script. runpy would take the globals of the module away as soon as it ends."""
    with open(path, "rb") as stream:
        code = compile(stream.read(), path, "exec", dont_inherit=True)
    main = ModuleType("__main__")
    main.__loader__ = SourceFileLoader("__main__", path)
    if "__annotations__" in vars(sys.modules["__main__"]):  # in what this Python has begun itself
        main.__annotations__ = {}
    main.__dict__["__builtins__"] = builtins
    main.__file__ = path
    main.__dict__["__cached__"] = None
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def _check_module(name: str) -> None:
    sys.path[0] = os.getcwd()
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
            if spec is None:
                raise UsageError(f"the package {quoted(name)} has no __main__; name a module in it.")
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"there is no module {quoted(name)}: {error}; name one that can be imported."
        ) from None
    if spec is None:
        raise UsageError(f"there is no module {quoted(name)}; name one that can be imported from here.")
