"""The files that a command writes: checked before the run, written whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from optitrace.errors import OutputError, UsageError, quoted
from optitrace.experiment.own_module import reason
from optitrace.views.formats import format_of

STDOUT = "-"

Chunks = Iterable[str] | Iterable[bytes]
"""What is to stand in a file, piece by piece: text, which is written in UTF-8, or bytes."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file to be written, and its format."""

    path: Path
    format: str


def plan_files(paths: Sequence[str], format: str | None) -> list[OutputFile]:
    """Return the files to write, after seeing that each can be; ``-`` is standard output and no file.

    Args:
        paths: where to write.
        format: the format of files whose suffix names none; an error if not given.

    Raises:
        UsageError: the suffix of a path names no format, or two paths are of one file.
        OutputError: a path cannot be written to.
    """
    files = []
    for path in paths:
        if path == STDOUT:
            continue
        if path:
            _check(Path(path))
        try:
            own = format_of(path)
        except UsageError:
            if format is None:
                raise
            own = format
        files.append(OutputFile(Path(path), own))
    _check_once([file.path for file in files])
    return files


def write_files(files: Iterable[OutputFile], chunks: Callable[[OutputFile], Chunks]) -> list[OutputError]:
    """Write every file that can be written; return what went wrong with the others.

    Args:
        files: the files.
        chunks: returns what is to stand in one of them.
    """
    errors = []
    for file in files:
        try:
            write_file(file.path, chunks(file))
        except OutputError as error:
            errors.append(error)
        except Exception as error:  # a fault in one format loses no other file
            errors.append(_cannot_write(file.path, f"{reason(error)}; choose another format"))
    return errors


def write_file(path: Path, chunks: Chunks) -> None:
    """Write a file, whole or not at all.

    A file is written beside the path and then put in its place, so that no reader sees half of it; a
    device or a pipe is written to directly.

    Raises:
        OutputError: it could not be written; what stood there before still stands.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                stream.writelines(map(_encoded, chunks))
        else:
            _replace(Path(os.path.realpath(path)), chunks)
    except OSError as error:
        raise _cannot_write(path, f"{error.strerror or error}; choose another place") from error


def _replace(path: Path, chunks: Chunks) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".optitrace-", dir=path.parent)
    try:
        with open(descriptor, "wb") as stream:
            stream.writelines(map(_encoded, chunks))
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, _mode(path))
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _encoded(chunk: str | bytes) -> bytes:
    """Return the bytes of a chunk; a lone surrogate, which UTF-8 cannot encode, becomes an escape."""
    return chunk if isinstance(chunk, bytes) else chunk.encode(errors="backslashreplace")


def _mode(path: Path) -> int:
    """Return the permissions of a file, or those that a new one has here."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _check_once(paths: Iterable[Path]) -> None:
    """See that no two paths are of one file, of which the later writing would replace the earlier."""
    named: dict[str, Path] = {}
    for path in paths:
        if path.exists() and not path.is_file():  # a device or a pipe takes one after the other
            continue
        earlier = named.setdefault(os.path.realpath(path), path)
        if earlier is path:
            continue
        if str(earlier) == str(path):
            raise UsageError(f"the output {quoted(str(path))} is named twice; name it once.")
        raise UsageError(
            f"the outputs {quoted(str(earlier))} and {quoted(str(path))} are one file; name it once."
        )


def _check(path: Path) -> None:
    try:
        reason = _obstacle(path)
    except OSError as error:
        reason = f"{error.strerror or error}; choose another place"
    if reason:
        raise _cannot_write(path, reason)


def _obstacle(path: Path) -> str:
    """Return why a path cannot be written to, and what to do; an empty text if nothing is known."""
    with suppress(FileNotFoundError, NotADirectoryError):
        path.lstat()  # refuses a name that is too long, of which Path.exists() is silent from Python 3.14 on
    if path.is_dir():
        return f"it is a folder; name a file in it, such as {quoted(str(path / 'trace.csv'))}"
    for folder in (path.parent, Path(os.path.realpath(path)).parent):  # of the path, of what it links to
        if not folder.is_dir():
            return f"there is no folder {quoted(str(folder))}; make it first"
    is_device = path.exists() and not path.is_file()
    folder_is_open = is_device or os.access(os.path.dirname(os.path.realpath(path)), os.W_OK)
    if not folder_is_open or (path.exists() and not os.access(path, os.W_OK)):
        return "there is no permission to; choose another place"
    return ""


def _cannot_write(path: Path, reason: str) -> OutputError:
    return OutputError(f"cannot write {quoted(str(path))}: {reason}.")
