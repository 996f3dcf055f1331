"""The command line of a run, and the command lines that messages suggest."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optitrace.errors import printable
from optitrace.records.training import Program


@dataclass(frozen=True, slots=True)
class RunCommandLine:
    """The command line of a run.

    Attributes:
        parameters: the options of a run.
        given: the values of the options by name.
        program: the program.
        launcher: the words before ``optitrace run``'s options.
    """

    parameters: Sequence[inspect.Parameter]
    given: Mapping[str, Any]
    program: Program
    launcher: Sequence[str] = ("optitrace", "run")

    @property
    def text(self) -> str:
        """The command as typed in a shell."""
        words = [*self.launcher, *self._options(), *(["-m"] if self.program.is_module else [])]
        return printable(shlex.join([*words, *self.program.arguments]))

    def having(self, more: Mapping[str, Any]) -> RunCommandLine:
        """Return the command line with options added: flags, and values of options without one."""
        missing = {name: value for name, value in more.items() if not self.given[name]}
        return replace(self, given={**self.given, **missing})

    def passed_on(self) -> tuple[Sequence[str], RunCommandLine]:
        """Return the options of a run that follow the program, and the command line with them before it."""
        by_name = {name: p for p in self.parameters for name in _names(p)}
        given, kept, passed = dict(self.given), [self.program.arguments[0]], []
        words = iter(self.program.arguments[1:])
        for word in words:
            name, _, value = word.partition("=")
            parameter = by_name.get(name)
            if parameter is None:
                kept.append(word)
                if word == "--":  # behind which nothing is an option
                    kept += words
                continue
            passed.append(name)
            if parameter.annotation is bool:
                given[parameter.name] = True
            else:
                value = value or next(words, "")
                is_list = isinstance(given[parameter.name], list)
                given[parameter.name] = [*given[parameter.name], value] if is_list else value
        moved = replace(self, given=given, program=replace(self.program, arguments=tuple(kept)))
        return tuple(dict.fromkeys(passed)), moved

    def _options(self) -> list[str]:
        words: list[str] = []
        for parameter in self.parameters:
            value, name = self.given[parameter.name], min(_names(parameter), key=len)
            if value is True:
                words.append(name)
            elif value != parameter.default.default:
                for each in value if isinstance(value, list) else [value]:
                    words += [f"{_names(parameter)[0]}={each}"] if each.startswith("-") else [name, each]
        return words


def _names(parameter: inspect.Parameter) -> Sequence[str]:
    return tuple(parameter.default.param_decls)
