"""Custom classes and functions, named by where they are: ``package.module:Name`` or ``path/file.py:Name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from optitrace.errors import UsageError, printable, quoted

SEPARATOR = ":"
"""The separator of a module or a file and the name in it."""


LONGEST_REASON = 300
"""The number of characters of an error that are shown: torch's can have thousands."""

NO_TEXT = "<exception str() failed>"
"""The text that Python prints for an error whose text cannot be computed."""


def reason(error: BaseException) -> str:
    """Return the message of an error as a clause, shortened if very long."""
    said = printable(" ".join(error_text(error).split())).rstrip(".")
    if len(said) > LONGEST_REASON:
        said = f"{said[:LONGEST_REASON]}…"
    name = printable(type(error).__name__)
    return f"{name}: {said}" if said else name


def error_text(error: BaseException) -> str:
    """Return the text of an error, whose computation may itself fail."""
    try:
        return str(error)
    except (Exception, SystemExit):
        return NO_TEXT


def load_name(name: str) -> tuple[Any, ModuleType]:
    """Return the object of a name, and its module, which is imported once.

    The current folder, or the folder of the file, is put on the path.

    Raises:
        UsageError: there is no such module, file or name, or it cannot be imported.
    """
    if not name.isprintable():
        raise UsageError(f"{quoted(name)} has a character that cannot be printed; rename the file.")
    place, _, attribute = name.rpartition(SEPARATOR)
    if not place or not attribute:
        raise UsageError(f"{quoted(name)} names nothing; write package.module:Name or path/file.py:Name.")
    module = _module_of_file(place) if place.endswith(".py") else _module(place)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise MissingNameError(f"there is no {quoted(attribute)} in {place}", module)
        found = getattr(found, part)
    return found, module


def absolute(name: str) -> str:
    """Return a name that stands for the same wherever a program goes.

    Raises:
        UsageError: there is no such file.
    """
    place, separator, attribute = name.rpartition(SEPARATOR)
    return f"{_existing(place)}{separator}{attribute}" if place.endswith(".py") else name


@contextmanager
def leaving_no_module() -> Iterator[None]:
    """Take what is imported from files and from the current folder out of Python's modules again.

    The places that were searched for it are no longer searched, either.
    """
    path, modules = list(sys.path), dict(sys.modules)
    try:
        yield
    finally:
        folders = {*sys.path, str(Path.cwd())} - {*path[1:]}
        for name in sys.modules.keys() - modules.keys():
            if _folder(sys.modules.get(name.partition(".")[0])) in folders:
                del sys.modules[name]
        sys.path[:] = path


class MissingNameError(UsageError):
    """A name that its module does not have.

    Attributes:
        module: the module.
    """

    def __init__(self, fact: str, module: ModuleType) -> None:
        super().__init__(f"{fact}; look for its right name there.")
        self.fact = fact
        self.module = module


def _module(name: str) -> ModuleType:
    _put_on_path(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"there is no module {quoted(error.name)} here or among the installed packages; "
                "a file is named by its path, path/file.py:Name."
            ) from error
        raise _import_failure(name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failure(name, error) from error


def _module_of_file(place: str) -> ModuleType:
    return _run_file(_existing(place))


def _existing(place: str) -> Path:
    if not Path(place).is_file():
        raise UsageError(f"there is no file {quoted(place)}; a name in it is written path/file.py:Name.")
    return Path(place).resolve()


def _folder(module: ModuleType | None) -> str:
    """Return the folder in which a module or a package was found; empty if it has none."""
    file = Path(getattr(module, "__file__", None) or "")
    return str((file.parent if file.stem == "__init__" else file).parent) if file.name else ""


@cache
def _run_file(path: Path) -> ModuleType:
    _put_on_path(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses and pickling look a class up by its module's name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[path.stem]
        else:
            sys.modules[path.stem] = before
        raise _import_failure(path.name, error) from error
    return module


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _import_failure(place: str, error: BaseException) -> UsageError:
    return UsageError(f"importing {place} fails: {reason(error)}; fix it there.")
