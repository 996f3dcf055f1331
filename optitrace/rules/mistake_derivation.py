"""What implementers of a rule can get wrong, derived from its syntax tree.

Each function that is listed in `_KINDS` knows one kind of mistake, and yields every one of that kind that a
rule offers: a bias that is not corrected, a line that is read before its update, an eps inside the root. The
particular kinds come first, as they have the better names; the last kind, a small change of one line, is
general.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import combinations
from typing import TypeAlias

from optitrace.functions import FUNCTIONS
from optitrace.rules.mistakes import ADDED_MISTAKES, Mistake
from optitrace.rules.open_lines import assignments
from optitrace.rules.reader.notation import conditional
from optitrace.rules.rule import Rule
from optitrace.rules.rule_anatomy import (
    MAXIMIZE,
    STEP,
    WEIGHT_DECAY,
    Anatomy,
    AssignedLine,
    SourceChanges,
    conjuncts,
    exclude_each_other,
    is_even_in,
    names_in,
    read_in,
    written_in,
)
from optitrace.rules.source_patching import definition

Named: TypeAlias = Iterator[tuple[str, SourceChanges]]
"""Mistakes: clauses that complete the sentence "agrees with adam if ...", and their changes."""

JOINED = "weight decay joins the gradient instead of shrinking the weights"
SHRUNK = "weight decay shrinks the weights instead of joining the gradient"
LATE_DECAY = "weight decay comes after the step"

_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_REVERSED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_WITH_EQUALITY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_OTHER_EXTREME = {"maximum": "minimum", "minimum": "maximum"}
_BOUND = {"maximum": "lower", "minimum": "upper"}
_NOUNS = {"sqrt": "the square root", "absolute": "the absolute value", "sign": "the sign"}
_OTHER_SIDE = {"rows": "columns", "columns": "rows"}


@cache
def derived_mistakes(rule: Rule) -> tuple[Mistake, ...]:
    """Return every mistake that can be derived from a rule, each with a name of its own.

    >>> from optitrace.rules.families.sign_based import lion
    >>> names = [mistake.name for mistake in derived_mistakes(lion)]
    >>> names[0], "c reads exp_avg after its update" in names
    ('weight decay is left out', True)
    """
    anatomy = Anatomy(rule, definition(rule.function))
    found: dict[str, Mistake] = {}
    known: set[str] = set()
    for clause, changes in (named for kind in _KINDS for named in kind(anatomy)):
        changed = str(sorted(changes.items()))
        if changed not in known:
            known.add(changed)
            name = clause if clause not in found else f"{clause}: {_line_of(anatomy, changes)}"
            found.setdefault(name, Mistake(name, changes))
    return tuple(found.values())


@cache
def mistakes_of(rule: Rule) -> tuple[Mistake, ...]:
    """Return the mistakes that can be derived from a rule, and those that were added to them by hand."""
    return (*derived_mistakes(rule), *ADDED_MISTAKES.get(rule.name, ()))


def _line_of(anatomy: Anatomy, changes: SourceChanges) -> str:
    """Return the last line that is changed as mathematics: how it then is, or was if it is left out."""
    source = next((new for new in reversed([*changes.values()]) if new), next(iter(changes)))
    lines = [*assignments(ast.parse(source).body)]
    if not lines:
        return source.partition("\n")[0]
    return f"{anatomy.said(lines[-1].targets[0])} = {anatomy.said(lines[-1].value)}"


def _hyperparameters(anatomy: Anatomy) -> Named:
    """Yield hyperparameters that have no effect, always have one, or are mixed up."""
    read = frozenset().union(*map(read_in, anatomy.statements))
    for name, value in anatomy.hyperparameters.items():
        if name == "lr" or not (name in read or isinstance(value, int)):
            continue
        if isinstance(value, bool):
            yield from _switches(anatomy, name)
        elif isinstance(value, int):
            yield f"{name} is one too small", anatomy.inserted(f"{name} = {name} - 1")
            yield f"{name} is one too large", anatomy.inserted(f"{name} = {name} + 1")
        elif isinstance(value, float) and value == 0:
            words = WEIGHT_DECAY if name == anatomy.decay_rate else name
            yield f"{words} is left out", anatomy.inserted(f"{name} = 0.0")
        elif isinstance(value, float):
            yield f"{name} has its default whatever is given", anatomy.inserted(f"{name} = {value!r}")
    for source, names in anatomy.unpacked.items():
        value = source.partition(" = ")[2]
        [hyperparameter] = names_in(ast.parse(value, mode="eval").body)
        for one, other in combinations(names, 2):
            targets = ", ".join({one: other, other: one}.get(name, name) for name in names)
            two = f"the two {hyperparameter}" if len(names) == 2 else f"{one} and {other}"
            yield f"{two} are swapped", {source: f"{targets} = {value}"}
        for name, number in zip(names, anatomy.hyperparameters[hyperparameter], strict=True):
            if isinstance(number, float):
                clause = f"{anatomy.said(name)} has its default whatever is given"
                yield clause, {source: f"{source}\n{name} = {number!r}"}


def _switches(anatomy: Anatomy, name: str) -> Named:
    clauses = (f"{name} is left out", f"{name} is always on")
    if "decouple" in name:
        clauses = JOINED, SHRUNK
    elif name == MAXIMIZE:
        clauses = "maximize does not turn the gradient's sign", clauses[1]
    for clause, value in zip(clauses, (False, True), strict=True):
        if anatomy.rule.fixed.get(name) is not value:
            yield clause, anatomy.inserted(f"{name} = {value}")
    if name not in anatomy.rule.fixed:
        yield f"{name} does the opposite", anatomy.inserted(f"{name} = not {name}")


def _bias_corrections(anatomy: Anatomy) -> Named:
    """Yield bias corrections that are left out, of another step or moment, or where there is none."""
    t, corrections = anatomy.count, anatomy.corrections
    if len(corrections) > 1:
        yield "no bias is corrected", _uncorrected(anatomy, *corrections)
        for sign, where in (("+", "ahead"), ("-", "behind")):
            moved = {f"{x}**{t}": f"{x}**({t} {sign} 1)" for x in corrections}
            yield f"the bias corrections are one step {where}", moved
        for one, other in combinations(corrections, 2):
            exchanged = {f"{one}**{t}": f"_**{t}", f"{other}**{t}": f"{one}**{t}", f"_**{t}": f"{other}**{t}"}
            yield "the two bias corrections are swapped", exchanged
    for x, correction in corrections.items():
        moment = anatomy.moment(x)
        yield f"the bias of {moment} is not corrected", _uncorrected(anatomy, x)
        for sign, where in (("+", "ahead"), ("-", "behind")):
            yield f"the bias of {moment} is corrected one step {where}", {f"{x}**{t}": f"{x}**({t} {sign} 1)"}
        for other in anatomy.moments:
            if other != x:
                clause = f"the bias of {moment} is corrected by powers of {anatomy.said(other)}"
                yield clause, {f"{x}**{t}": f"{other}**{t}"}
        if any(f"sqrt({correction})" in line.source for line in anatomy.lines):
            clause = f"the bias correction of {moment} lacks its square root"
            yield clause, {f"sqrt({correction})": correction}
        yield from _corrected_branches(anatomy, correction)
    for x, symbol in anatomy.moments.items():
        if x not in corrections:
            yield from _added_correction(anatomy, symbol, x)


def _uncorrected(anatomy: Anatomy, *factors: str) -> SourceChanges:
    """Return the changes that leave out bias corrections wherever they stand."""
    corrections = [anatomy.corrections[x] for x in factors]
    left_out = [*corrections, *(f"sqrt({correction})" for correction in corrections)]
    changed = {line.source: line.without_factors(left_out) for line in anatomy.lines}
    return {source: bare for source, bare in changed.items() if source != bare}


def _corrected_branches(anatomy: Anatomy, correction: str) -> Named:
    """Yield corrections of one branch of a conditional, and the maximum of corrected numbers."""
    for line in anatomy.lines:
        for part in ast.walk(line.value):
            match part:
                case ast.BinOp(ast.IfExp(test, ast.Name(one), ast.Name(other)), ast.Div(), by) if (
                    ast.unparse(by) == correction
                ):
                    said, condition = anatomy.said(test), ast.unparse(test)
                    corrected = f"{other} / ({correction})"
                    bare_one = line.with_part(part, f"{one} if {condition} else {corrected}")
                    bare_other = line.with_part(part, f"{one} / ({correction}) if {condition} else {other}")
                    yield f"{said} corrects no bias of {anatomy.name(one)}", {line.source: bare_one}
                    yield f"only {said} corrects the bias", {line.source: bare_other}
                    maximum = f"maximum({one}, {other})"
                    if any(maximum in each.source for each in anatomy.lines):
                        clause = f"{said} takes the maximum after the bias correction"
                        yield clause, {maximum: f"maximum({one}, {corrected})", line.source: bare_one}


def _added_correction(anatomy: Anatomy, symbol: str, x: str) -> Named:
    last = max(line.place for line in anatomy.lines if line.symbol == symbol)
    corrected = f"{symbol} / (1 - {x} ** {anatomy.count})"
    changes = {
        line.source: line.with_name(symbol, corrected)
        for line in anatomy.lines
        if line.place > last and symbol in line.names
    }
    if changes:
        yield f"the bias of {anatomy.name(symbol)} is corrected", changes


def _updates(anatomy: Anatomy) -> Named:
    """Yield state with another beginning, and running means with other weights."""
    t = anatomy.count
    for entry in anatomy.rule.state:
        if entry.initial:
            symbol = entry.symbol
            started = anatomy.inserted(f"{symbol} = 0 * {symbol} if {t} == 1 else {symbol}")
            yield f"{anatomy.name(symbol)} starts at zero", started
    for line in anatomy.lines:
        if line.symbol not in anatomy.keys:
            continue
        for part in ast.walk(line.value):
            match part:
                case ast.BinOp(ast.BinOp(ast.Name(x), ast.Mult(), ast.Name(line.symbol)), ast.Add(), added):
                    yield from _means(anatomy, line, part, x, added)
        if line.symbol in line.names and t not in line.names:
            kept = line.with_value(f"({ast.unparse(line.value)}) if {t} > 1 else {line.symbol}")
            yield f"{anatomy.name(line.symbol)} is left as it is in step 1", {line.source: kept}


def _means(anatomy: Anatomy, line: AssignedLine, mean: ast.expr, x: str, added: ast.expr) -> Named:
    """Yield what can be wrong with ``x * s + (1 - x) * new``, or with ``x * s + new``."""
    key, symbol, share = anatomy.name(line.symbol), line.symbol, f"1 - {x}"
    new = _cofactor(added, share)
    if new is None:
        new = _cofactor(added) or added
        running = f"{x} * {symbol} + ({share}) * ({ast.unparse(new)})"
        yield f"{key} is a running mean", {line.source: line.with_value(running)}
        if mean is not line.value:
            clause = f"{key} is a running mean, but for its exception"
            yield clause, {line.source: line.with_part(mean, running)}
        return
    what, text = _noun(anatomy, new), ast.unparse(new)
    clauses = {
        f"{key} adds {what} without the factor {anatomy.said(share)}": f"{x} * {symbol} + {text}",
        f"{anatomy.said(x)} weighs {what} in {key}": f"({share}) * {symbol} + {x} * ({text})",
        f"{key} is a mean over all steps": f"{symbol} + (({text}) - {symbol}) / {anatomy.count}",
    }
    if anatomy.count not in line.names:
        clauses[f"{key} starts as {what}"] = f"({text}) if {anatomy.count} == 1 else {ast.unparse(mean)}"
    for clause, changed in clauses.items():
        yield clause, {line.source: line.with_part(mean, changed)}


def _cofactor(product: ast.expr, factor: str = "") -> ast.expr | None:
    """Return a product without its first factor; None if it is none, or begins with another one."""
    match product:
        case ast.BinOp(left, ast.Mult(), right) if factor in ("", ast.unparse(left)):
            return right
        case ast.BinOp(left, (ast.Mult() | ast.Div()) as operator, right):
            inner = _cofactor(left, factor)
            return None if inner is None else ast.BinOp(inner, operator, right)
    return None


def _noun(anatomy: Anatomy, node: ast.expr) -> str:
    match node:
        case ast.BinOp(ast.Name(name), ast.Pow(), ast.Constant(2)):
            return f"the squared {anatomy.name(name).removeprefix('the ')}"
        case ast.Name(name):
            return anatomy.name(name)
    return anatomy.said(node)


def _eps(anatomy: Anatomy) -> Named:
    """Yield an eps inside a root or outside it, before or after a bias correction, added or a bound."""
    for line in anatomy.lines:
        roots = {}
        for part in ast.walk(line.value):
            match part:
                case ast.BinOp(ast.Call(ast.Name("sqrt"), [inner]), ast.Add(), ast.Name(eps)) if "eps" in eps:
                    for clause, text in _eps_outside(anatomy, ast.unparse(inner), eps):
                        yield f"{anatomy.said(eps)} {clause}", {line.source: line.with_part(part, text)}
                case ast.Call(ast.Name("sqrt"), [ast.BinOp(inner, ast.Add(), ast.Name(eps))]) if "eps" in eps:
                    roots[ast.unparse(part)] = f"(sqrt({ast.unparse(inner)}) + {eps})"
                    clause = f"{anatomy.said(eps)} is outside the square root of {anatomy.said(inner)}"
                    yield clause, {line.source: line.with_part(part, roots[ast.unparse(part)])}
                case ast.Call(ast.Name("maximum"), [_, _]) if any("eps" in name for name in names_in(part)):
                    bound, value = sorted(part.args, key=lambda each: "eps" not in ast.unparse(each))
                    clause = f"{anatomy.said(bound)} is added to {anatomy.said(value)} instead of bounding it"
                    added = f"{ast.unparse(value)} + {ast.unparse(bound)}"
                    yield clause, {line.source: line.with_part(part, added)}
        if len(roots) > 1:
            yield "eps is outside every square root", roots


def _eps_outside(anatomy: Anatomy, root: str, eps: str) -> Iterator[tuple[str, str]]:
    """Yield what may stand for ``sqrt(root) + eps``."""
    yield "is inside the square root", f"sqrt(({root}) + {eps})"
    yield "is left out", f"sqrt({root})"
    yield "bounds the square root instead of being added", f"maximum(sqrt({root}), {eps})"
    for x, correction in anatomy.corrections.items():
        if any(line.symbol == root and correction in line.source for line in anatomy.lines):
            clause = f"is added before the bias of {anatomy.moment(x)} is corrected"
            yield clause, f"sqrt({root}) + {eps} / sqrt({correction})"
        elif anatomy.moments.get(x) == root:
            clause = f"is added after the bias of {anatomy.moment(x)} is corrected"
            yield clause, f"sqrt({root}) + {eps} * sqrt({correction})"


def _weight_decay(anatomy: Anatomy) -> Named:
    """Yield a weight decay of the other kind, at another place, or of another size."""
    rate, w, g = anatomy.decay_rate, anatomy.weights, anatomy.gradient
    if not rate or "lr" not in anatomy.hyperparameters:
        return
    joins, shrinks = f"{g} = {g} + {rate} * {w}", f"{w} = {w} - lr * {rate} * {w}"
    step = next((line for line in reversed(anatomy.lines) if anatomy.role(line) == STEP), None)
    decays = [line for line in anatomy.lines if anatomy.is_decay(line)]
    is_either = len({line.symbol for line in decays}) == 1
    for line in decays:
        is_joined = line.symbol == g
        if is_either and is_joined:
            yield SHRUNK, {line.source: shrinks}
            if step is not None:
                yield LATE_DECAY, {line.source: "", step.source: f"{step.source}\n{shrinks}"}
        elif is_either:
            yield JOINED, {line.source: joins}
            yield JOINED, {**anatomy.inserted(joins), line.source: ""}
        clause = "weight decay counts twice, as if its penalty had no factor of one half"
        yield clause, {line.source: line.with_name(rate, f"(2 * {rate})")}
        if not is_joined:
            yield "weight decay is not scaled by lr", {line.source: line.without_factors(["lr"])}
            if MAXIMIZE in anatomy.hyperparameters:
                turned = line.with_name(rate, f"(-{rate} if maximize else {rate})")
                yield "maximize turns the sign of weight decay too", {line.source: turned}
    if step is not None and {rate, w} <= step.names:
        for part in ast.walk(step.value):
            match part:
                case ast.BinOp(rest, ast.Add() | ast.Sub(), term) if rate in _factors(term):
                    bare = step.with_part(part, ast.unparse(rest))
                    unscaled = shrinks.replace("lr * ", "")
                    yield "weight decay is left out of the step", {step.source: bare}
                    yield JOINED, {step.source: bare, **anatomy.inserted(joins)}
                    yield LATE_DECAY, {step.source: f"{bare}\n{shrinks}"}
                    yield "weight decay is not scaled by lr", {step.source: f"{unscaled}\n{bare}"}


def _factors(product: ast.expr) -> frozenset[str]:
    """Return the names that are factors of a product."""
    match product:
        case ast.Name(name):
            return frozenset({name})
        case ast.BinOp(left, ast.Mult(), right):
            return _factors(left) | _factors(right)
    return frozenset()


def _order(anatomy: Anatomy) -> Named:
    """Yield lines that read a number before its update instead of after it, or the other way round."""
    for place, line in enumerate(anatomy.lines):
        for reader in anatomy.lines[place + 1 :]:
            if line.symbol in reader.names and _can_be_stale(anatomy, line, reader):
                yield _stale(anatomy, line, reader)
    movable = [s for s in anatomy.statements if ast.unparse(s) not in anatomy.unpacked]
    for first, second in combinations(range(len(movable)), 2):
        one, other = movable[first], movable[second]
        if _order_counts(anatomy, one, other):
            name = _name_of_order(anatomy, one, other)
            texts = ast.unparse(one), ast.unparse(other)
            exchanged = "\n".join(reversed(texts))
            above, between, below = movable[:first], movable[first + 1 : second], movable[second + 1 :]
            if _all_is_known(anatomy, [*above, *between, other, one, *below]):
                yield name, {texts[0]: "", texts[1]: exchanged}
            if _all_is_known(anatomy, [*above, other, one, *between, *below]):
                yield name, {texts[1]: "", texts[0]: exchanged}


def _can_be_stale(anatomy: Anatomy, line: AssignedLine, reader: AssignedLine) -> bool:
    """Return whether a line's symbol has a value before it, and keeps the line's until it is read."""
    position = anatomy.lines.index
    between = anatomy.lines[position(line) + 1 : position(reader)]
    return (
        line.symbol in anatomy.known_before(line)
        and all(each.symbol != line.symbol for each in between)
        and not any(isinstance(each.statement, ast.For) for each in (line, reader))
        and not exclude_each_other(line.statement, reader.statement)
        and not (anatomy.is_maximize(line) and is_even_in(reader.value, line.symbol))
    )


def _stale(anatomy: Anatomy, line: AssignedLine, reader: AssignedLine) -> tuple[str, SourceChanges]:
    old = f"{line.symbol}_before"
    role = anatomy.role(line)
    when = role if role in (WEIGHT_DECAY, MAXIMIZE) else "its update"
    clause = f"{anatomy.role(reader)} reads {anatomy.name(line.symbol)} before {when}"
    kept = f"{old} = {line.symbol}\n{ast.unparse(line.statement)}"
    changed = reader.with_name(line.symbol, old)
    # the second change is looked for in what the first one has made
    return clause, {ast.unparse(line.statement): kept, reader.source: changed}


def _all_is_known(anatomy: Anatomy, statements: Sequence[ast.stmt]) -> bool:
    """Return whether each statement reads only what has a value by then."""
    known = {*anatomy.arguments, *anatomy.settings}
    for statement in statements:
        made = written_in(statement)
        within = frozenset() if isinstance(statement, ast.Assign) else made
        if not read_in(statement) - within <= known:
            return False
        known |= made
    return True


def _order_counts(anatomy: Anatomy, one: ast.stmt, other: ast.stmt) -> bool:
    """Return whether it matters which of two statements comes first, and either could."""
    if exclude_each_other(one, other):
        return False
    is_turned = anatomy.role_of(one) == MAXIMIZE and all(
        is_even_in(line.value, anatomy.gradient) for line in anatomy.lines if line.statement is other
    )
    flows = written_in(one) & (read_in(other) | written_in(other)) or read_in(one) & written_in(other)
    return bool(flows) and not is_turned


def _name_of_order(anatomy: Anatomy, one: ast.stmt, other: ast.stmt) -> str:
    """Return what it is called if the second of two statements comes before the first."""
    first, second = anatomy.role_of(one), anatomy.role_of(other)
    if {first, second} == {WEIGHT_DECAY, MAXIMIZE}:
        return "weight decay is added before maximize turns the sign"
    if (first, second) == (WEIGHT_DECAY, STEP):
        return LATE_DECAY
    after = sorted(read_in(one) & written_in(other) - written_in(one))
    if after:
        return f"{first} reads {anatomy.name(after[0])} after its update"
    before = sorted(written_in(one) & read_in(other))
    if before and first not in (WEIGHT_DECAY, MAXIMIZE):
        return f"{second} reads {anatomy.name(before[0])} before its update"
    return f"{first} comes after {second}"


def _conditions_of_lines(anatomy: Anatomy) -> Named:
    """Yield conditions before lines that are not asked, or only in part."""
    for statement in (part for each in anatomy.statements for part in ast.walk(each)):
        if not isinstance(statement, ast.If):
            continue
        whole, body = ast.unparse(statement), "\n".join(map(ast.unparse, statement.body))
        otherwise = "\n".join(map(ast.unparse, statement.orelse))
        inside = [line for line in anatomy.lines if line.node in statement.body]
        roles = " and ".join(dict.fromkeys(anatomy.role(line) for line in inside))
        said = anatomy.said(statement.test)
        yield f"{roles} is left out where {said}", {whole: otherwise}
        if otherwise:
            yield f"{roles} is computed as if always {said}", {whole: body}
        parts = conjuncts(statement.test)
        for part in parts:
            if _is_switch(anatomy, part):
                test = " and ".join(ast.unparse(each) for each in parts if each is not part)
                free = f"if {test}:\n{whole.partition(':' + chr(10))[2]}" if test else body
                yield f"{roles} does not depend on {anatomy.said(part)}", {whole: free}


def _is_switch(anatomy: Anatomy, test: ast.expr) -> bool:
    """Return whether a condition asks for more than whether a number is zero, or there."""
    match test:
        case ast.UnaryOp(ast.Not(), operand):
            return _is_switch(anatomy, operand)
        case ast.Name(name):
            return isinstance(anatomy.hyperparameters.get(name), bool) and name not in anatomy.rule.fixed
        case ast.Compare(_, [operator], _):
            return not isinstance(operator, ast.Is | ast.IsNot)
    return False


def _parts_of_lines(anatomy: Anatomy) -> Named:
    """Yield small changes of one line: a part left out, a sign, a function, a name, a condition, a number."""
    for line in anatomy.lines:
        role = anatomy.role(line)
        for name, text in _mixed_up(anatomy, line):
            clause = f"{role} uses {anatomy.said(text)} in place of {anatomy.said(name)}"
            yield clause, {line.source: line.with_name(name, text)}
        called = {id(part.func) for part in ast.walk(line.value) if isinstance(part, ast.Call)}
        roots = {}
        for part in ast.walk(line.value):
            if isinstance(part, ast.expr) and id(part) not in called:
                for clause, text in _substitutes(anatomy, line, part):
                    yield clause, {line.source: line.with_part(part, text)}
            match part:
                case ast.Call(ast.Name("sqrt"), [inner]):
                    roots[ast.unparse(part)] = f"({ast.unparse(inner)})"
        if len(roots) > 1:
            yield f"{role} lacks every square root", roots
        yield f"{role} is left out", {line.source: ""}


def _mixed_up(anatomy: Anatomy, line: AssignedLine) -> Iterator[tuple[str, str]]:
    """Yield names in a line, and what may stand by mistake for each, everywhere in it."""
    known = anatomy.known_before(line)
    variables = known - anatomy.settings - {anatomy.count}
    starts = {entry.symbol: entry.initial for entry in anatomy.rule.state}
    for name in sorted(line.names):
        if name == anatomy.count:
            yield name, f"{name} + 1"
            yield name, f"{name} - 1"
            continue
        kin = {other for names in anatomy.unpacked.values() if name in names for other in names}
        if name in variables - {anatomy.weights}:
            stem = name.partition("_")[0]
            kin |= {other for other in variables if other.partition("_")[0] == stem}
            if line.symbol == anatomy.weights:
                kin.add(anatomy.gradient)
        if isinstance(start := starts.get(name), str):
            kin.add(start)
        yield from ((name, other) for other in sorted((kin & known) - {name}))


def _substitutes(anatomy: Anatomy, line: AssignedLine, part: ast.expr) -> Iterator[tuple[str, str]]:
    """Yield what may stand by mistake where a part of a line should, and how that is said."""
    said, role = anatomy.said, anatomy.role(line)
    if parts := conditional(part):
        condition, *branches = parts
        for when, branch in zip(("always", "never"), branches, strict=True):
            yield f"{role} is computed as if {when} {said(condition)}", ast.unparse(branch)
        return
    match part:
        case ast.Name():
            for name, text in _mixed_up(anatomy, line):
                if name == part.id:
                    yield f"{role} uses {said(text)} in place of {said(name)}", text
        case ast.BinOp(left, operator, right):
            yield from _operations(anatomy, role, left, operator, right)
        case ast.UnaryOp(ast.USub(), operand):
            yield f"{role} lacks the sign of {said(part)}", ast.unparse(operand)
        case ast.Compare(left, [operator], [right]) if type(operator) in _COMPARISONS:
            for text in _comparisons(anatomy, left, _COMPARISONS[type(operator)], right):
                yield f"{role} asks for {said(text)} instead of {said(part)}", text
        case ast.Call(ast.Name(name), arguments):
            yield from _calls(anatomy, role, name, arguments)


def _operations(
    anatomy: Anatomy, role: str, left: ast.expr, operator: ast.operator, right: ast.expr
) -> Iterator[tuple[str, str]]:
    said, one, other = anatomy.said, ast.unparse(left), ast.unparse(right)
    match operator:
        case ast.Add() | ast.Sub():
            sign = "-" if isinstance(operator, ast.Add) else "+"
            yield f"the sign of {said(right)} is wrong in {role}", f"{one} {sign} ({other})"
            if isinstance(operator, ast.Add) or not isinstance(left, ast.Constant):
                yield f"{role} lacks the term {said(right)}", one
            if isinstance(operator, ast.Add):
                yield f"{role} lacks the term {said(left)}", other
        case ast.Mult() | ast.MatMult():
            for factor, rest in ((left, right), (right, left)):
                if not names_in(factor) & {*anatomy.arguments} or not names_in(rest) <= anatomy.settings:
                    yield f"{role} lacks the factor {said(factor)}", ast.unparse(rest)
            if isinstance(right, ast.Name) and right.id in anatomy.settings:
                yield f"{role} divides by {said(right)}", f"({one}) / {other}"
        case ast.Div():
            yield f"{role} does not divide by {said(right)}", one
            yield f"{role} multiplies by {said(right)} instead of dividing", f"({one}) * ({other})"
        case ast.Pow():
            is_square = isinstance(right, ast.Constant) and right.value == 2
            square, power = f"{said(left)} is not squared in {role}", f"{role} lacks the power {said(right)}"
            yield square if is_square else power, one


def _comparisons(anatomy: Anatomy, left: ast.expr, sign: str, right: ast.expr) -> Iterator[str]:
    one, other = ast.unparse(left), ast.unparse(right)
    yield f"{one} {_REVERSED[sign]} {other}"
    if isinstance(right, ast.Constant) and right.value not in (0, 1):
        yield f"{one} {sign} {other} - 1"
        yield f"{one} {sign} {other} + 1"
    elif not isinstance(left, ast.Call) and _can_be_equal(anatomy, names_in(left)):
        yield f"{one} {_WITH_EQUALITY[sign]} {other}"


def _can_be_equal(anatomy: Anatomy, names: frozenset[str]) -> bool:
    """Return whether numbers count, or are signs, so that two of them can be equal."""
    lines = [line for line in anatomy.lines if line.symbol in names]
    return anatomy.count in names or any("sign(" in line.source for line in lines)


def _calls(
    anatomy: Anatomy, role: str, name: str, arguments: Sequence[ast.expr]
) -> Iterator[tuple[str, str]]:
    said = anatomy.said
    texts = [*map(ast.unparse, arguments)]
    if name in _OTHER_EXTREME:
        for kept, bound in ((0, 1), (1, 0)):
            clause = f"{role} has no {_BOUND[name]} bound {said(texts[bound])} of {said(texts[kept])}"
            yield clause, texts[kept]
        whole = said(f"{name}({', '.join(texts)})")
        other = _OTHER_EXTREME[name]
        yield f"{role} takes the {other} in place of {whole}", f"{other}({', '.join(texts)})"
        yield f"{role} adds {said(texts[0])} and {said(texts[1])}", f"({texts[0]}) + ({texts[1]})"
    elif name in _OTHER_SIDE:
        yield f"{role} uses {_OTHER_SIDE[name]} in place of {name}", f"{_OTHER_SIDE[name]}({texts[0]})"
    elif len(texts) == 1 and FUNCTIONS[name].name != "machine_epsilon":
        yield f"{role} lacks {_NOUNS.get(name, name)} of {said(texts[0])}", texts[0]


_KINDS: tuple[Callable[[Anatomy], Named], ...] = (
    _hyperparameters,
    _bias_corrections,
    _updates,
    _eps,
    _weight_decay,
    _order,
    _conditions_of_lines,
    _parts_of_lines,
)
