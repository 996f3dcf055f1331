"""Custom optimizer classes, found by ``package.module:Class`` or ``path/file.py:Class``."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from optitrace.errors import UsageError, did_you_mean, printable, quoted
from optitrace.experiment.user_module import (
    SEPARATOR,
    MissingNameError,
    absolute,
    leaving_no_module,
    load_name,
)
from optitrace.rules.catalogue import OPTIMIZERS, ShippedRule, find, shipped_rules
from optitrace.rules.hyperparameter import Hyperparameter, has_no
from optitrace.rules.optimizer import DEFAULT_LR
from optitrace.rules.optimizer import Optimizer as Entry
from optitrace.rules.reader import check_declaration, read
from optitrace.rules.rule import Implementation, Needs, Rule, as_rule
from optitrace.text import listed

if TYPE_CHECKING:
    from torch.optim import Optimizer

FLAGS = ("foreach", "fused", "capturable", "differentiable")
"""The parameters by which torch chooses how a step is computed, not what."""


@dataclass(frozen=True, slots=True)
class UserClass:
    """An optimizer class that is not in the catalogue.

    Attributes:
        name: its name as given: ``mine.py:Adam``.
        optimizer_class: the class.
        hyperparameters: its settings, in the order of its signature; an lr without a default has the
            documented one.
        required: the hyperparameters, other than lr, that have no default; theirs is None.
        implementations: the implementations that its signature offers.
    """

    name: str
    optimizer_class: type[Optimizer]
    hyperparameters: tuple[Hyperparameter, ...]
    required: tuple[str, ...]
    implementations: tuple[Implementation, ...]

    @classmethod
    def of(cls, optimizer_class: type[Optimizer], name: str | None = None) -> UserClass:
        """Return the description of a class, from its signature.

        Raises:
            UsageError: it is not an optimizer class.
        """
        from torch.optim import Optimizer

        name = name or optimizer_class.__qualname__
        is_class = isinstance(optimizer_class, type) and issubclass(optimizer_class, Optimizer)
        if not is_class or optimizer_class is Optimizer:
            raise UsageError(
                f"'{name}' is not an optimizer class; it must derive from torch.optim.Optimizer."
            )
        signature = inspect.signature(optimizer_class.__init__)
        hints = _hints(optimizer_class)
        # after self and the parameters to be optimized
        own = [p for p in list(signature.parameters.values())[2:] if p.kind not in _VARIADIC]
        flags: tuple[Implementation, ...] = ("foreach", "fused")
        return cls(
            name=name,
            optimizer_class=optimizer_class,
            hyperparameters=tuple(
                Hyperparameter(name, p.name, _default(p), _type(hints.get(p.name), _default(p)))
                for p in own
                if p.name not in FLAGS
            ),
            required=tuple(
                p.name for p in own if p.default is p.empty and p.name != "lr" and p.name not in FLAGS
            ),
            implementations=("single", *(f for f in flags if f in signature.parameters)),
        )

    @property
    def entry(self) -> Entry:
        """The class as an entry of the catalogue."""
        return Entry(
            name=self.name,
            class_path=self.name,
            summary=_summary(self.optimizer_class),
            source="",
            hyperparameters=self.hyperparameters,
            state=(),
            implementations=self.implementations,
            rule=None,
            needs=_needs(self.optimizer_class),
            required=self.required,
        )

    def check(self, given: Iterable[str], offered: Iterable[str] = ()) -> None:
        """Check that the class can be called with these hyperparameters, by name.

        Args:
            given: the given hyperparameters.
            offered: further hyperparameters that can be given.

        Raises:
            UsageError: it lacks one that is given, or needs one that is neither given nor offered.
        """
        names = [hyperparameter.name for hyperparameter in self.hyperparameters]
        for name in given:
            if name not in names:
                raise UsageError(self.has_no(name))
        if missing := [name for name in self.required if name not in {*given, *offered}]:
            raise UsageError(
                f"{self.name} has no default for {listed(missing)}; give it as --set {missing[0]}=VALUE."
            )

    def has_no(self, name: str) -> str:
        """Return the sentence that says that there is no such hyperparameter, and which there are."""
        return has_no(self.name, name, (hyperparameter.name for hyperparameter in self.hyperparameters))


@dataclass(frozen=True, slots=True)
class ChosenRule:
    """The rule that a class of a program is said to follow.

    Attributes:
        class_name: ``package.module:Class`` or ``path/file.py:Class``.
        rule: the rule.
    """

    class_name: str
    rule: Rule

    @classmethod
    def of(cls, text: str) -> ChosenRule:
        """Return what a text such as ``package.module:Lion=mine.py:lion`` says; the class is not looked for.

        A program that is run later finds nothing of the rule's module.

        Raises:
            UsageError: the text is of another form, or there is no such rule.
        """
        class_name, _, rule = text.partition("=")
        if not is_user_class(class_name) or not rule:
            raise UsageError(
                f"--rule is {quoted(text)}; it must be CLASS=RULE, such as package.module:Lion=mine.py:lion."
            )
        with leaving_no_module():
            return cls(absolute(class_name), find_rule(rule))


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def is_user_class(name: str) -> bool:
    """Return whether a name is that of a custom class, not of an optimizer of the catalogue."""
    return SEPARATOR in name


def load(name: str) -> UserClass:
    """Return the class of a name, ``package.module:Class`` or ``path/file.py:Class``.

    Raises:
        UsageError: there is no such module, file or class; it cannot be imported; or it is no optimizer.
    """
    return UserClass.of(_found(name), name)


def entry_of(name: str) -> Entry:
    """Return what is known of an optimizer by its name: of the catalogue, shipped, or a custom class or rule.

    Raises:
        UsageError: there is no such optimizer, or the rule has something that a rule cannot contain.
    """
    if is_user_class(name):
        found = _found(name)
        rule = rule_of_object(found)
        return UserClass.of(found, name).entry if rule is None else Entry.of_rule(replace(rule, name=name))
    if is_shipped(name):
        return Entry.of_rule(load_shipped(shipped_rules()[name.lower()]))
    return find(name)


def is_shipped(name: str) -> bool:
    """Return whether a name is that of a rule which an installed package ships."""
    return not is_user_class(name) and name.lower() not in OPTIMIZERS and name.lower() in shipped_rules()


def load_shipped(shipped: ShippedRule) -> Rule:
    """Return a rule that a package ships.

    Raises:
        UsageError: it cannot be loaded, or is no rule.
    """
    try:
        if not is_user_class(shipped.path):
            raise UsageError(f"its entry point is {quoted(shipped.path)}; write package.module:function.")
        return find_rule(shipped.path)
    except UsageError as error:
        what = f"the rule {quoted(shipped.name)} of the package {printable(shipped.package)}"
        raise UsageError(f"{what} cannot be used: {error}") from None


def load_all_shipped() -> tuple[list[Entry], list[str]]:
    """Return the rules that installed packages ship, and a sentence for each that cannot be loaded."""
    entries, failures = [], []
    for shipped in shipped_rules().values():
        try:
            entry = Entry.of_rule(load_shipped(shipped))
        except UsageError as error:
            failures.append(str(error))
        else:
            entries.append(replace(entry, name=shipped.name))
    return entries, failures


def rules_with_classes(package: str) -> Iterator[Rule]:
    """Yield the rules that say which classes implement them: of the catalogue, and those a package ships.

    Args:
        package: the package of the class that is asked for; no code of any other is loaded.
    """
    yield from (o.rule for o in OPTIMIZERS.values() if o.rule is not None and o.rule.classes)
    for shipped in shipped_rules().values():
        if shipped.path.partition(SEPARATOR)[0].partition(".")[0] == package:
            with suppress(UsageError):  # told where rules are listed
                yield load_shipped(shipped)


def known_rule(name: str) -> Rule | None:
    """Return the rule that a class is known to implement, by its name; None if none is known.

    >>> known_rule("lion_pytorch:Lion").name
    'lion'
    """
    path = name.replace(SEPARATOR, ".")
    return next((rule for rule in rules_with_classes(path.partition(".")[0]) if path in rule.classes), None)


def entry_of_object(given: Any) -> Entry:
    """Return the entry of a class, a rule, or a function that can be one.

    Its name is that by which a module has it, ``package.module:lion``.

    Raises:
        UsageError: it is none of these, or the class cannot be found by its name.
    """
    rule = rule_of_object(given)
    if rule is not None:
        known = OPTIMIZERS.get(rule.name)
        if known is not None and known.rule is rule:
            return known
        return Entry.of_rule(replace(rule, name=f"{rule.function.__module__}{SEPARATOR}{rule.name}"))
    if not isinstance(given, type):
        raise UsageError(
            f"the optimizer is {given!r}; give a name such as 'sgd' or 'mine.py:Lion', a class, or a rule."
        )
    own = UserClass.of(given)
    if given.__module__.startswith("torch.optim."):
        return find(given.__name__)
    name = f"{given.__module__}{SEPARATOR}{given.__qualname__}"
    if "<locals>" in name or _found(name) is not given:
        raise UsageError(f"{own.name} cannot be found by its name; define it at the top level of a module.")
    return load(name).entry


def find_rule(given: Any) -> Rule:
    """Return the rule of a name, ``adam`` or ``mine.py:lion``, or of an object.

    Raises:
        UsageError: there is none, or it has something that a rule cannot contain.
    """
    if isinstance(given, str) and not is_user_class(given):
        known = entry_of(given)
        if known.rule is None:
            raise UsageError(f"{known.name} has no rule, so nothing can be checked against it.")
        return known.rule
    rule = rule_of_object(_found(given) if isinstance(given, str) else given)
    if rule is None:
        what = quoted(given) if isinstance(given, str) else repr(given)
        raise UsageError(f"{what} is not a rule; write one as def lion(w, g, t, exp_avg, *, lr=1e-4).")
    return replace(rule, name=given) if isinstance(given, str) else rule


def rule_of_object(found: Any) -> Rule | None:
    """Return the rule of a rule or a function that can be one; None for anything else.

    Raises:
        UsageError: the function has something that a rule cannot contain.
    """
    rule = as_rule(found) if isinstance(found, types.FunctionType) else found
    if not isinstance(rule, Rule):
        return None
    check_declaration(rule)
    read(rule)
    return rule


def _found(name: str) -> Any:
    try:
        return load_name(name)[0]
    except MissingNameError as error:
        attribute = name.rpartition(SEPARATOR)[2]
        raise UsageError(f"{error.fact}{_near(attribute, error.module)}") from None


def recorded_entry(name: str, hyperparameters: Mapping[str, Any], implementation: Implementation) -> Entry:
    """Return the entry of a class in a trace file, which may not exist any more."""
    return Entry(
        name=name,
        class_path=name,
        summary="",
        source="",
        hyperparameters=tuple(Hyperparameter(name, n, v, Any) for n, v in hyperparameters.items()),
        state=(),
        implementations=(implementation,),
        rule=None,
        needs="",
    )


def _near(attribute: str, module: types.ModuleType) -> str:
    """Return the list of available classes and rules, as the end of a message."""
    names = sorted(_optimizers(module))
    if guess := did_you_mean(attribute, names):
        return guess
    return f"; its optimizers are {', '.join(names)}." if names else "; it has no optimizer."


def _optimizers(module: types.ModuleType) -> Iterator[str]:
    """Yield the names of the optimizer classes and the rules of a module, and of the functions it defines."""
    from torch.optim import Optimizer

    for name, value in vars(module).items():
        is_class = isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer
        is_function = isinstance(value, types.FunctionType) and value.__module__ == module.__name__
        if is_class or is_function or isinstance(value, Rule):
            yield name


def _hints(optimizer_class: type[Optimizer]) -> dict[str, Any]:
    """Return the annotations of the constructor, evaluated; none where they cannot be."""
    try:
        return dict(inspect.get_annotations(inspect.unwrap(optimizer_class.__init__), eval_str=True))
    except Exception:  # an annotation is an expression, and can fail in any way
        return {}


def _default(parameter: inspect.Parameter) -> Any:
    if parameter.default is not parameter.empty:
        return tuple(parameter.default) if isinstance(parameter.default, list) else parameter.default
    return DEFAULT_LR if parameter.name == "lr" else None


def _type(annotation: Any, default: Any) -> Any:
    """Return the type that a hyperparameter's text is read as: the annotation's, or else the default's."""
    if annotation is not None and (readable := _readable(annotation)) is not None:
        return readable
    if isinstance(default, tuple):
        return tuple[tuple(_type(None, part) for part in default)]  # type: ignore[misc]
    if isinstance(default, bool | str | float):
        return type(default)
    # a whole number as default, as in weight_decay=0, does not mean that there are no others
    return float | None if default is None else int | float


def _readable(annotation: Any) -> Any:
    """Return an annotation without types that are not settings, such as tensors; None if nothing is left."""
    if annotation in (bool, int, float, str, types.NoneType):
        return annotation
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return annotation
    if origin in (Union, types.UnionType):
        kept = [r for member in members if (r := _readable(member)) is not None]
        if not kept or kept == [types.NoneType]:
            return None
        return Union[tuple(kept)]  # noqa: UP007
    if origin in (tuple, list) and members and Ellipsis not in members:
        parts = [_readable(member) for member in members]
        return None if None in parts else tuple[tuple(parts)]  # type: ignore[misc]
    return None


def _summary(optimizer_class: type[Optimizer]) -> str:
    """Return the first line of a class's docstring."""
    return (optimizer_class.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _needs(optimizer_class: type[Optimizer]) -> Needs:
    """Return the needs of a class by its signature: a closure, if it is required."""
    parameters = list(inspect.signature(inspect.unwrap(optimizer_class.step)).parameters.values())[1:]
    wants = any(p.name == "closure" and p.default is p.empty for p in parameters)
    return "closure" if wants else ""
