"""The files that a command writes: checked before the run, written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from optitrace.errors import OutputError, UsageError, quoted
from optitrace.views.formats import Chunks, Presenter, Writer, writer_of_file

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file to be written, and its format."""

    path: Path
    writer: Writer


def plan_files(paths: Sequence[str], result: type[Presenter], format: Writer | None) -> list[OutputFile]:
    """Return the files to write, after checking each; ``-`` is standard output.

    Args:
        paths: where to write.
        result: the kind of result.
        format: the format of files whose suffix names none; an error if not given.

    Raises:
        UsageError: the suffix of a path names no format that the result has, or two paths are of one file.
        OutputError: a path cannot be written to.
    """
    files = []
    for path in paths:
        if path == STDOUT:
            continue
        if path:
            _check(Path(path))
        files.append(OutputFile(Path(path), writer_of_file(path, result, format)))
    _check_once([file.path for file in files])
    return files


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
        raise cannot_write(path, f"{error.strerror or error}; choose another place") from error


def cannot_write(path: Path, reason: str) -> OutputError:
    """Return the error that a file cannot be written, for a reason with its remedy."""
    return OutputError(f"cannot write {quoted(str(path))}: {reason}.")


def _replace(path: Path, chunks: Chunks) -> None:
    prefix = f".optitrace-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}-"
    _remove_abandoned(path.parent, prefix)
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    try:
        with _in_use(descriptor):
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


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove the temporary files of processes that were killed while they wrote the same file."""
    with os.scandir(folder) as entries:
        paths = [entry.path for entry in entries if entry.name.startswith(prefix)]
    for path in paths:
        with suppress(OSError):
            with open(path, "rb") as stream:
                _lock(stream.fileno())
            os.unlink(path)


@contextmanager
def _in_use(descriptor: int) -> Iterator[None]:
    """Mark an open file as in use for a while, even once it is closed, but not beyond this process."""
    own = os.dup(descriptor)
    try:
        _lock(own)
    except OSError:  # where there are no locks, nobody takes it for abandoned either
        os.close(own)
        yield
        return
    try:
        yield
    finally:
        os.close(own)


def _lock(descriptor: int) -> None:
    """Lock a file until it is closed.

    Raises:
        OSError: another process has locked it, or it cannot be locked.
    """
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP)) from None
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


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
    """Check that no two paths are the same file."""
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
        raise cannot_write(path, reason)


def _obstacle(path: Path) -> str:
    """Return why a path cannot be written to, and the remedy; empty if no obstacle is found."""
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
