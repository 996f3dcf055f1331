from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from optitrace.errors import UsageError
from optitrace.experiment.user_class import UserClass, is_user_class, load

MINE = """\
import torch
from other import HALF

class Mine(torch.optim.SGD):
    def __init__(self, params, lr, momentum=HALF, *, betas=(0.9, 0.99), steps=3, foreach=None, **more):
        super().__init__(params, lr=lr, momentum=momentum)

class NotOne:
    pass

number = 3
"""


@pytest.fixture(autouse=True)
def _own_modules_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name in ("mine", "other", "broken") or name.startswith("bundle"):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "other.py").write_text("HALF = 0.5\n")
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "__init__.py").write_text("from bundle.inner import Deep\n")
    (tmp_path / "bundle" / "inner.py").write_text(
        "import torch\nclass Deep(torch.optim.Adam):\n    class Deeper(torch.optim.SGD):\n        pass\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["mine.py:Mine", "./mine.py:Mine", "mine:Mine"])
def test_a_class_is_found_by_its_file_or_its_module(folder: Path, name: str) -> None:
    own = load(name)

    assert own.name == name
    assert own.optimizer_class.__name__ == "Mine"
    assert is_user_class(name)


@pytest.mark.parametrize(
    "name", ["bundle:Deep", "bundle.inner:Deep", "bundle/inner.py:Deep", "bundle:Deep.Deeper"]
)
def test_a_class_is_found_in_a_package_and_in_a_class(folder: Path, name: str) -> None:
    assert load(name).optimizer_class.__qualname__ == name.partition(":")[2]


def test_a_file_finds_its_neighbours_from_any_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path("/"))

    assert {h.name: h.default for h in load(f"{folder}/mine.py:Mine").hyperparameters}["momentum"] == 0.5


def test_the_signature_gives_the_hyperparameters(folder: Path) -> None:
    own = load("mine.py:Mine")

    # lr has no default, and so the documented one; foreach is no hyperparameter
    assert {h.name: h.default for h in own.hyperparameters} == {
        "lr": 0.01,
        "momentum": 0.5,
        "betas": (0.9, 0.99),
        "steps": 3,
    }
    assert own.required == ()
    assert own.implementations == ("single", "foreach")


def test_a_class_of_torch_has_the_hyperparameters_of_the_catalogue() -> None:
    from optitrace.rules.catalogue import TORCH_OPTIMIZERS

    there = [o for o in TORCH_OPTIMIZERS.values() if hasattr(torch.optim, o.class_path.rpartition(".")[2])]
    for optimizer in there:
        own = load(optimizer.class_path.replace("optim.", "optim:"))
        known = inspect.signature(own.optimizer_class).parameters

        assert {h.name for h in own.hyperparameters} == {h.name for h in optimizer.hyperparameters} & {*known}
        assert own.implementations == optimizer.implementations


class Typed(torch.optim.SGD):
    def __init__(  # type: ignore[no-untyped-def]
        self,
        params: Any,
        lr: float | torch.Tensor = 0.1,
        kind: Literal["a", "b"] | None = None,
        pair: tuple[float, float] = (1, 2),
        whole: int = 3,
        switch: bool = False,
        untyped=0,  # noqa: ANN001
        fraction=0.5,  # noqa: ANN001
    ) -> None:
        super().__init__(params, lr)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("lr", "1e-3", 1e-3),
        ("kind", "b", "b"),
        ("kind", "none", None),
        ("pair", "3,4", (3.0, 4.0)),
        ("whole", "7", 7),
        ("switch", "true", True),
        ("untyped", "7", 7),
        ("untyped", "0.1", 0.1),
        ("fraction", "2", 2.0),
    ],
)
def test_a_text_is_read_by_the_annotation_or_by_the_default(name: str, text: str, value: object) -> None:
    [hyperparameter] = [h for h in UserClass.of(Typed).hyperparameters if h.name == name]
    read = hyperparameter.parse(text)

    assert (read, type(read)) == (value, type(value))


def test_a_hyperparameter_without_a_default_is_required() -> None:
    class Needing(torch.optim.SGD):
        def __init__(self, params: Any, lr: float, gamma: float) -> None:
            super().__init__(params, lr)

    own = UserClass.of(Needing)

    assert own.required == ("gamma",)
    own.check(["gamma"])
    own.check([], offered=["gamma"])
    with pytest.raises(UsageError, match="has no default for gamma; give it as --set gamma=VALUE"):
        own.check([])


BROKEN = {
    "SyntaxError": "def f(:\n",
    "ZeroDivisionError: division by zero": "1 / 0\n",
    "ModuleNotFoundError: No module named 'absent'": "import absent\n",
    "SystemExit: 3": "raise SystemExit(3)\n",
    "RuntimeError": "raise RuntimeError\n",
}


@pytest.mark.parametrize("reason", BROKEN)
@pytest.mark.parametrize("name", ["broken.py:Mine", "broken:Mine"])
def test_an_error_while_importing_is_told_in_a_sentence(folder: Path, reason: str, name: str) -> None:
    (folder / "broken.py").write_text(BROKEN[reason])

    with pytest.raises(UsageError, match=rf"^importing broken(\.py)? fails: {reason}[^\n]*\.$") as raised:
        load(name)
    assert "\n" not in str(raised.value)
    assert "broken" not in sys.modules


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (":Mine", "^':Mine' names nothing; write package.module:"),
        ("mine.py:", "^'mine.py:' names nothing"),
        ("absent.py:Mine", "^there is no file 'absent.py'; a name in it is"),
        ("absent:Mine", "^there is no module 'absent' here or among the installed packages; a file is"),
        ("bundle.absent:Mine", "^there is no module 'bundle.absent' here"),
        ("mine.py:Mime", "^there is no 'Mime' in mine.py; did you mean 'Mine'"),
        ("mine.py:Xyz", "^there is no 'Xyz' in mine.py; its optimizers are Mine"),
        ("other.py:Xyz", "^there is no 'Xyz' in other.py; it has no optimizer"),
        (
            "mine.py:NotOne",
            "^'mine.py:NotOne' is not an optimizer class; it must derive from torch.optim",
        ),
        ("mine.py:number", "^'mine.py:number' is not an optimizer class"),
        ("torch.optim:Optimizer", "^'torch.optim:Optimizer' is not an optimizer class"),
    ],
)
def test_what_is_not_there_is_told(folder: Path, name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load(name)


def test_a_signature_that_cannot_be_evaluated_is_read_by_its_defaults() -> None:
    class Odd(torch.optim.SGD):
        def __init__(self, params: Any, lr: Unknown = 0.1) -> None:  # type: ignore[name-defined]  # noqa: F821
            super().__init__(params, lr)

    assert [(h.name, h.type) for h in UserClass.of(Odd).hyperparameters] == [("lr", float)]
    assert inspect.isclass(Odd)
