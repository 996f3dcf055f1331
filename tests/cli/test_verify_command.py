"""`verify`: what it prints, how it exits, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.runs import run

MINE = """\
import torch
from torch.optim import Optimizer


class Inside(Optimizer):
    '''Adam whose eps is inside the square root.'''

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (beta1, beta2), eps, lr = group["betas"], group["eps"], group["lr"]
            for p in group["params"]:
                state = self.state[p]
                t = state["step"] = state.get("step", 0) + 1
                m = state["exp_avg"] = beta1 * state.get("exp_avg", 0.0) + (1 - beta1) * p.grad
                v = state["exp_avg_sq"] = beta2 * state.get("exp_avg_sq", 0.0) + (1 - beta2) * p.grad**2
                p.sub_(lr * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps).sqrt())


class Idle(torch.optim.SGD):
    '''Gradient descent with a hyperparameter that does nothing.'''

    def __init__(self, params, lr=0.1, momentum=0.0, idle=0.5):
        super().__init__(params, lr=lr, momentum=momentum)


class Plain(torch.optim.SGD):
    '''Gradient descent.'''

    def __init__(self, params, lr=0.1, momentum=0.0):
        super().__init__(params, lr=lr, momentum=momentum)
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("own") / "mine.py"
    path.write_text(MINE)
    return str(path)


def test_torch_agrees_and_exits_with_0() -> None:
    finished = run("verify", "adam", "SGD", "--dtype", "float64")

    assert (finished.code, finished.stderr) == (0, "")
    rows = [line.split() for line in finished.stdout.splitlines()]
    names = [(row[0], row[1], row[-1]) for row in rows if row and row[0] in ("adam", "sgd")]
    assert names == [
        (name, implementation, "agrees")
        for name in ("adam", "sgd")
        for implementation in ("single", "foreach", "fused")
    ]
    assert finished.stdout.endswith("\n6 of 6 implementations agree with their rules\n")


def test_one_implementation_is_tried_where_one_is_named() -> None:
    finished = run("verify", "adam", "--implementation", "fused")

    assert "single" not in finished.stdout
    assert finished.stdout.endswith("\nadam agrees with its rule\n")


def test_what_has_no_rule_is_listed() -> None:
    finished = run("verify", "lbfgs")

    assert finished.code == 0
    assert "lbfgs      single                    has no rule\n" in finished.stdout
    assert "allowed" not in finished.stdout


def test_a_class_that_departs_is_told_where_and_why_and_exits_with_1(mine: str) -> None:
    finished = run("verify", f"{mine}:Inside", "--rule", "adam", COLUMNS="1000")

    assert finished.code == 1
    said = [line.strip() for line in finished.stdout.splitlines()]
    assert f"{mine}:Inside departs from the rule of adam (single float32, single float64)" in said
    assert "agrees with adam if eps is inside the square root" in said
    assert "first at step 1 with lr=0.1, betas=0.68,0.97, eps=0.026: weights, coordinate 1 of 4" in said
    [rule] = [line for line in said if line.startswith("rule: ")]
    # the first weight is 2, its first gradient 1.964921, m_hat is the gradient and v_hat its square
    assert rule == (
        "rule:  w = w − lr·m_hat / (√v_hat + eps) = 2.000000 − 0.1·1.964921 / (√3.860915 + 0.026) = 1.901306"
    )
    # 2 − 0.1·1.964921 / √(3.860915 + 0.026)
    [found] = [line for line in said if line.startswith("class: ")]
    assert found.startswith("class: 1.90033")
    # 1.964921·(√3.860915 + 0.026) / √(3.860915 + 0.026)
    after = said[said.index(found) + 1 :]
    assert (
        after[0] == "only weights and state can be seen; each of these lines, alone, would explain this step:"
    )
    assert after[1].startswith("m_hat = m / (1 − β₁ᵗ) would be 1.98425")
    assert after[2].startswith("v_hat = (v_max if amsgrad else v) / (1 − β₂ᵗ) would be ")
    assert after[3].startswith("w = w − lr·m_hat / (√v_hat + eps) would be 1.90033")


def test_a_class_without_a_rule_is_held_against_claims_alone(mine: str) -> None:
    finished = run("verify", f"{mine}:Idle", COLUMNS="1000")

    assert finished.code == 1
    assert (
        "FAILED          every hyperparameter has an effect: "
        "nothing in the settings tried was changed by idle (1, "
    ) in finished.stdout
    assert "verdict" not in finished.stdout
    assert finished.stdout.endswith(f"\n\n{mine}:Idle: 1 of 10 general claims fails\n")


@pytest.mark.parametrize(
    ("name", "rule", "verdict"),
    [
        ("Idle", "sgd", "failed: {} agrees with the rule of sgd; 1 of 10 general claims fails"),
        ("Inside", "adam", "failed: {} departs from the rule of adam; all 9 general claims hold"),
        ("Plain", "sgd", "passed: {} agrees with the rule of sgd; all 10 general claims hold"),
    ],
)
def test_one_line_says_what_was_decided(mine: str, name: str, rule: str, verdict: str) -> None:
    finished = run("verify", f"{mine}:{name}", "--rule", rule, COLUMNS="1000")

    *_, gap, last = finished.stdout.splitlines()
    assert (gap, last) == ("", verdict.format(f"{mine}:{name}"))
    assert finished.code == (1 if verdict.startswith("failed") else 0)


def test_a_hyperparameter_can_be_set(mine: str) -> None:
    finished = run("verify", f"{mine}:Idle", "--rule", "sgd", "--set", "momentum=0.5", "--format", "json")
    found = json.loads(finished.stdout)

    assert [check["verdict"] for check in found["checks"]] == ["agrees", "agrees"]
    assert found["checks"][0]["configurations"] == 1
    assert found["passed"] is False


def test_json_has_all_that_the_table_says(mine: str) -> None:
    finished = run("verify", f"{mine}:Inside", "--rule", "adam", "-f", "json")
    found = json.loads(finished.stdout)

    assert finished.code == 1
    assert found.keys() == {"schema", "passed", "checks", "conformances"}
    [single, double] = found["checks"]
    assert (single["dtype"], double["dtype"]) == ("float32", "float64")
    assert (single["worst_run_error"], double["verdict"]) == (None, "departs")
    assert double["causes"] == ["eps is inside the square root"]
    assert double["cause_codes"] == ["eps-is-inside-the-square-root"]
    assert double["departure"]["step"] == 1
    assert double["departure"]["settings"] == {"lr": 0.1, "betas": [0.68, 0.97], "eps": 0.026}
    assert {c["outcome"] for c in found["conformances"]} == {"passed", "not applicable"}


@pytest.mark.parametrize("width", ["30", "40", "80", "200"])
def test_no_line_is_wider_than_the_terminal(mine: str, width: str) -> None:
    finished = run("verify", f"{mine}:Inside", "--rule", "adam", COLUMNS=width)

    assert max(map(len, finished.stdout.splitlines())) <= int(width)
    assert "…" not in finished.stdout


def test_ascii_is_enough() -> None:
    finished = run("verify", "nadam", "--implementation", "single", encoding="ascii")

    assert finished.stdout.isascii()
    assert "?" not in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["adem"], "unknown optimizer 'adem'; did you mean 'adam'? 'optitrace list' shows all."),
        (["sgd", "--rule", "adam"], "--rule is for a custom class; sgd has its rule and settings."),
        (["--set", "lr=1"], "--set is for a custom class; sgd has its rule and settings."),
        (["torch.optim:Adam", "--rule", "lbfgs"], "lbfgs has no rule, so nothing can be checked against it."),
        (["torch.optim:Adam", "--rule", "adem"], "unknown optimizer 'adem'; did you mean 'adam'? "),
        (
            ["torch.optim:Adam", "--rule", "sgd"],
            "torch.optim:Adam keeps exp_avg, exp_avg_sq, the state of adam or adamw or nadam or radam or "
            "sparseadam, and sgd keeps momentum_buffer; verify it against another rule.",
        ),
        (["torch.optim:Adam", "--set", "eps"], "--set is 'eps'; it must be NAME=VALUE, such as eps=1e-6."),
        (
            ["torch.optim:Adam", "--set", "nu=1"],
            "torch.optim:Adam has no nu; its hyperparameters are lr, betas",
        ),
        (["torch.optim:Adam", "--set", "eps=x"], "torch.optim:Adam: eps must be a number, not 'x'."),
        (["torch.optim:Adan"], "there is no 'Adan' in torch.optim; did you mean 'Adam'?"),
        (["muon", "--implementation", "fused"], "there is no fused implementation of muon."),
        (
            ["sgd", "--implementation", "all"],
            "unknown implementation 'all'; choose from: single, foreach, fused.",
        ),
        (["sgd", "--dtype", "float16"], "verify has no dtype 'float16'; it has float32 and float64."),
        (
            ["sgd", "--format", "svg"],
            "a verification has no format 'svg'; choose from: table, json, csv, tsv, markdown, junit.",
        ),
        (["torch.optim:SparseAdam"], "torch.optim:SparseAdam cannot take a step: RuntimeError: "),
        (["torch.optim:Adam", "--timeout", "0"], "timeout is '0'; it must be a positive integer."),
    ],
)
def test_what_cannot_be_verified_is_told_in_a_sentence(arguments: list[str], sentence: str) -> None:
    finished = run("verify", *arguments)

    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"optitrace: {sentence}")
    assert finished.stderr.count("\n") == 1


LION = """
import torch


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                beta1, beta2 = group["betas"]
                update = (beta1 * m + (1 - beta1) * p.grad).sign()
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=group["lr"])
                m.mul_(beta2).add_(p.grad, alpha=1 - beta2)
"""


def test_the_rule_of_a_class_that_is_known_to_implement_it_is_found_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lion_pytorch.py").write_text(LION)
    monkeypatch.chdir(tmp_path)
    finished = run("verify", "lion_pytorch:Lion", "--dtype", "float64")

    assert finished.code == 0
    assert "lion_pytorch:Lion agrees with the rule of lion" in finished.stdout
