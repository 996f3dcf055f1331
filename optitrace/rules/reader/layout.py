"""A rule's lines laid out as mathematics, for help and lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from optitrace.rules.reader.assignments import Assignment
from optitrace.rules.reader.notation import write_names
from optitrace.rules.reader.notation_style import Spelling
from optitrace.rules.reader.statements import Body, Guard, Loop, Statement, Unpacking


def formulas(body: Body, spelling: Spelling) -> Iterator[str]:
    """Yield the lines of a rule as mathematics, blocks indented by four spaces."""
    yield from _formulas(body.statements, spelling, body.hyperparameters)


def _formulas(statements: Sequence[Statement], spelling: Spelling, kept: Iterable[str]) -> Iterator[str]:
    for statement in statements:
        match statement:
            case Assignment(symbol, node):
                yield f"{spelling.symbol(symbol)} = {write_names(node, spelling, kept)}"
            case Unpacking(symbols, source, function):
                given = f"{function}({source})" if function else source
                yield f"{', '.join(map(spelling.symbol, symbols))} = {given}"
            case Guard(node, _, then, otherwise):
                condition = write_names(node, spelling, kept)
                yield from _block(f"if {condition}:", list(_formulas(then, spelling, kept)))
                if otherwise:
                    yield from _block("else:", list(_formulas(otherwise, spelling, kept)))
            case Loop(count, inner):
                yield from _block(f"repeat {count} times:", list(_formulas(inner, spelling, kept)))


def _block(head: str, lines: list[str]) -> Iterator[str]:
    if len(lines) == 1:
        yield f"{head} {lines[0]}"
        return
    yield head
    yield from (f"    {line}" for line in lines)
