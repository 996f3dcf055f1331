"""A name of torch that is gone costs one fact, which is reported, and the watched program nothing."""

from __future__ import annotations

import ast
import importlib
import multiprocessing
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.script_runs import PRELOADED
from support.watched import Task, numbers, only, seen, watching
from torch import Tensor, nn
from torch.nn.utils import clip_grad
from torch.optim import optimizer as torch_optimizer

import optitrace
from optitrace.monitoring import torch_internals
from optitrace.monitoring.norms import Norm, norms
from optitrace.monitoring.step_metrics import StepMetrics
from optitrace.monitoring.torch_internals import Dependency
from optitrace.records.training import Tally
from optitrace.views.training_wording import ending_lines

SCRIPT = """\
import torch
torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
for _ in range(4):
    optimizer.zero_grad()
    model(torch.ones(4, 2)).square().mean().backward()
    optimizer.step()
    scheduler.step()
print([parameter.tolist() for parameter in model.parameters()])
"""

DEPENDENCIES = {
    name: dependency
    for name, dependency in vars(torch_internals).items()
    if isinstance(dependency, Dependency)
}

NAMES = [
    pytest.param(dependency, name, id=f"{dependency.module}.{name}")
    for dependency in DEPENDENCIES.values()
    for name in dependency.names
]

NEEDED_BY_THE_SCRIPT = (
    "backward",
    "optim.Optimizer.zero_grad",
    "Optimizer.__init__",
    "LRScheduler.__init__",
    "LRScheduler.step",
)
"""The names without which the script fails by itself."""


@pytest.mark.parametrize(("dependency", "name"), NAMES)
def test_a_name_that_is_gone_costs_its_fact_and_leaves_the_program_as_it_is(
    dependency: Dependency, name: str, tmp_path: Path
) -> None:
    plain = ran(tmp_path / "plain", _plain, dependency.module, name)
    watched = ran(tmp_path / "watched", _watched, dependency.module, name)

    assert watched[:2] == plain[:2]
    assert bool(plain[0]) is (name in NEEDED_BY_THE_SCRIPT)
    assert f"{dependency.lost}: torch {torch.__version__} has no {dependency.module}.{name}." in watched[2]
    assert "faults found" not in watched[2]


def test_with_all_names_there_is_nothing_to_report(tmp_path: Path) -> None:
    code, _, said = ran(tmp_path, _watched, "torch", "")

    assert code == 0
    assert "no other faults found" in said
    assert not any(dependency.lost in said for dependency in DEPENDENCIES.values())


def test_where_nothing_can_be_observed_no_step_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch_optimizer, "register_optimizer_step_pre_hook")
    task = Task()
    with watching() as watcher:
        task.train(torch.optim.SGD(task.model.parameters(), lr=0.1), 2)

    assert list(ending_lines(seen(watcher))) == [
        "completed; no step was observed",
        f"no optimizer is observed: torch {torch.__version__} has no "
        "torch.optim.optimizer.register_optimizer_step_pre_hook.",
    ]


def ran(folder: Path, run: Callable[[Path], int], *arguments: str) -> tuple[int | None, str, str]:
    """Return the exit code, the output and the errors of what a process of its own runs."""
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_in_files, args=(folder, run, arguments))
    process.start()
    process.join(timeout=120)
    said = (folder / "stderr").read_text()  # in lines of 80 characters
    return process.exitcode, (folder / "stdout").read_text(), " ".join(said.split())


def _in_files(folder: Path, run: Callable[[Path], int], arguments: tuple[str, ...]) -> None:
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    with (folder / "stdout").open("w") as sys.stdout, (folder / "stderr").open("w") as sys.stderr:
        _remove(*arguments)
        sys.exit(run(script))


def _plain(script: Path) -> int:
    runpy.run_path(str(script), run_name="__main__")
    return 0


def _watched(script: Path) -> int:
    from optitrace.cli.app import main

    return main(["run", str(script)])


def _remove(module: str, name: str) -> None:
    """Take a name away from torch."""
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    if name == "Tensor._version":  # of a class in C: nobody can take it away
        exists = torch_internals.exists
        torch_internals.exists = lambda module, name: not name.endswith("_version") and exists(module, name)
    elif name:
        delattr(owner, last)


def test_a_watching_that_cannot_begin_leaves_the_program_as_it_is(tmp_path: Path) -> None:
    code, output, said = ran(tmp_path, _watched_without_its_own_module, "torch", "")

    assert (code, bool(output)) == (0, True)
    assert said == "optitrace: no optimizer is observed: ModuleNotFoundError: gone."


def _watched_without_its_own_module(script: Path) -> int:
    from optitrace.monitoring import torch_hooks as interception

    def fail(*arguments: Any) -> None:
        raise ModuleNotFoundError("gone")

    interception.TorchHooks.begin = fail  # type: ignore[assignment, method-assign]
    return _watched(script)


def test_clipping_by_norm_is_observed_where_torch_has_no_function_for_its_second_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @clip_grad._no_grad
    def clip_grad_norm_(  # as torch 2.5 has it, in one piece
        parameters: Any, max_norm: float, norm_type: float = 2.0
    ) -> Tensor:
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]), norm_type)
        for gradient in gradients:
            gradient.mul_(max_norm / norm)
        return torch.as_tensor(norm)

    for module in (nn.utils, clip_grad):
        monkeypatch.setattr(module, "clip_grad_norm_", clip_grad_norm_)
    monkeypatch.delattr(nn.utils, "clip_grads_with_norm_", raising=False)
    monkeypatch.delattr(clip_grad, "_clip_grads_with_norm_", raising=False)
    task = Task()
    with watching() as watcher:
        optimizer = torch.optim.SGD(task.model.parameters(), lr=0.1)
        task.loss().backward()  # type: ignore[no-untyped-call]
        unclipped = clip_grad_norm_(task.model.parameters(), 0.01)
        optimizer.step()

    assert [tally.cut for tally in only(watcher).clippings.values()] == [Tally(1, 1)]
    assert numbers(only(watcher), "unclipped_gradient_norm") == pytest.approx([unclipped.item()])
    assert numbers(only(watcher), "gradient_norm") == pytest.approx([0.01], rel=1e-5)


def test_norms_are_the_same_where_torch_has_nothing_for_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_foreach_norm", "_foreach_copy_", "_foreach_sub_"):
        monkeypatch.delattr(torch, name)
    weights = nn.Parameter(torch.tensor([3.0, 4.0]))
    weights.grad = torch.tensor([5.0, 12.0])
    measuring = StepMetrics([weights])
    for _ in range(2):  # the second time into the memory of the first
        measuring.remember()
    gradient = measuring.gradient_norm()
    with torch.no_grad():
        weights.sub_(torch.tensor([2.0, 0.0]))
    change, after = measuring.moved()

    # 5² + 12² = 13², and (3, 4) − (1, 4) has norm 2, by hand
    found = [norm.whole for norm in (gradient, change, after) if isinstance(norm, Norm)]
    assert found == pytest.approx([13.0, 2.0, 17**0.5])
    assert norms([weights.grad], weights.device).tolist() == [13.0]


HOMES = ("monitoring/torch_internals.py", "tracing/stepping.py")
"""The files that may know private names of torch: what watches, and what steps."""

OWN = ("self", "cls", "other", "super()")

OF_OTHERS = (
    "_C",
    "_asdict",
    "_effective_n_jobs",
    "_exit",
    "_getframe",
    "_has_no",
    "_replace",
    "_runtime_param",
    "_set_axes_scale",
)
"""Private names of joblib, matplotlib, Python and Typer; and ``torch._C.DisableTorchFunctionSubclass``, which
torch documents."""


def private_names(source: str) -> Iterator[str]:
    """Yield the private attributes that a source takes from anything but an object of its own class."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            owner = ast.unparse(node.value)
            if owner not in OWN and node.attr not in OF_OTHERS:
                yield f"{owner}.{node.attr}"


def test_private_names_of_torch_stand_in_one_file() -> None:
    package = Path(optitrace.__file__).parent
    found = {
        (str(path.relative_to(package)), name)
        for path in package.rglob("*.py")
        if str(path.relative_to(package)) not in HOMES
        for name in private_names(path.read_text(encoding="utf-8"))
    }

    assert found == set()


def test_a_private_name_would_be_noticed() -> None:
    source = "import torch\ndef f(self, x):\n    return self._mine, torch._foreach_norm(x), x._version\n"

    assert sorted(private_names(source)) == ["torch._foreach_norm", "x._version"]
