"""What is odd about the parameter groups of an optimizer: who is in which, and how they differ."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from optitrace.analysis.training.diagnoses.registry import Finding, of_an_optimizer, times
from optitrace.analysis.training.diagnoses.step_size import group_lengths
from optitrace.records.training import OptimizerTrace, WatchedParameter
from optitrace.rules.catalogue import rule_of_class
from optitrace.rules.rule import takes_matrices
from optitrace.text import counted, first_of

FAR_APART = 10.0
"""From what ratio on the steps of two groups are far apart; a head at ten times the lr is usual."""


@of_an_optimizer("empty group", 240)
def empty_group(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """A parameter group in which there is nothing that a step can move."""
    filled = {parameter.group for parameter in optimizer.parameters}
    empty = [group for group in range(len(optimizer.hyperparameters)) if group not in filled]
    if not empty or len(optimizer.hyperparameters) == 1:
        return
    is_one = len(empty) == 1
    yield Finding(
        step=1,
        fact=f"{'group' if is_one else 'groups'} {', '.join(map(str, empty))} of {optimizer.name} "
        f"{'has' if is_one else 'have'} no parameter that a step can move",
        remedy="look at the names by which the parameters are chosen",
        severity="remark",
    )


@of_an_optimizer("norm decays", 241)
def decayed_norms(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Norms and biases that decay though there is a group of such without weight decay."""
    decays = [float(group.get("weight_decay") or 0) for group in optimizer.hyperparameters]
    exempt = [p for p in optimizer.parameters if decays[p.group] == 0 and not p.is_frozen]
    if not exempt or not all(map(_is_vector_or_embedding, exempt)) or not any(map(_is_spared, exempt)):
        return
    decayed = [p for p in optimizer.parameters if decays[p.group] and _is_spared(p) and not p.is_frozen]
    if not decayed:
        return
    names, first = [p.name for p in decayed], decayed[0]
    of_class = f" ({first.module})" if first.module else ""
    yield Finding(
        step=1,
        parameter=first.name,
        parameters=tuple(names),
        fact=f"{first_of(names, 1)}{of_class} of the parameters of {optimizer.name} "
        f"{'decays' if len(names) == 1 else 'decay'} with weight_decay={decays[first.group]:g}, though "
        f"{first_of([p.name for p in exempt], 1)} of its norms and biases "
        f"{'does' if len(exempt) == 1 else 'do'} not",
        remedy="choose the group without weight decay by dimension (p.ndim < 2), not by names",
        severity="remark",
    )


@of_an_optimizer("not a hidden matrix", 242)
def not_for_matrices(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Embeddings and vectors under a rule for hidden matrices, such as Muon."""
    rule = rule_of_class(optimizer.class_path)
    if rule is None or not takes_matrices(rule.function):
        return
    odd = [p for p in optimizer.parameters if len(p.shape) < 2 or "Embedding" in p.module]
    if not odd:
        return
    names, first = [p.name for p in odd], odd[0]
    what = "an embedding" if "Embedding" in first.module else f"of {counted(len(first.shape), 'dimension')}"
    yield Finding(
        step=1,
        parameter=first.name,
        parameters=tuple(names),
        fact=f"{optimizer.name} moves {first_of(names, 1)}, {what}: its rule makes the update of a matrix "
        "orthogonal, so that rows whose gradient is small or rare move as far as others",
        remedy="give embeddings, the output layer and all vectors to AdamW",
        severity="remark",
    )


@of_an_optimizer("groups far apart", 243)
def far_apart(optimizer: OptimizerTrace) -> Iterator[Finding]:
    """Groups whose first updates differ more than tenfold at the same gradient, by the rule."""
    lengths = group_lengths(optimizer)
    used = {parameter.group for parameter in optimizer.parameters if not parameter.is_frozen}
    moving = sorted((length, group) for group, length in enumerate(lengths) if length > 0 and group in used)
    gaps = [(longer / shorter, a, b) for (shorter, a), (longer, b) in pairwise(moving)]
    if not gaps or max(gaps)[0] <= FAR_APART * (1 + 1e-9):
        return
    ratio, slow, fast = max(gaps)
    lrs = [optimizer.hyperparameters[group].get("lr") for group in (slow, fast)]
    yield Finding(
        step=1,
        parameter=next(p.name for p in optimizer.parameters if p.group == fast),
        numbers={"ratio": ratio},
        fact=f"the first update of group {fast} of {optimizer.name} is {times(ratio)} times as long as that "
        f"of group {slow} at the same gradient, by the rule: their lrs are {lrs[1]:g} and {lrs[0]:g}",
        remedy="compare the settings of the groups",
        severity="remark",
    )


def _is_spared(parameter: WatchedParameter) -> bool:
    """Return whether a parameter is a norm's or a bias, which usually do not decay."""
    is_bias = parameter.name.rpartition(".")[2] == "bias"
    return len(parameter.shape) == 1 and ("Norm" in parameter.module or is_bias)


def _is_vector_or_embedding(parameter: WatchedParameter) -> bool:
    return len(parameter.shape) < 2 or "Embedding" in parameter.module
