"""Rules that average their weights in place of a schedule of the learning rate.

The gradient is taken at y, between the fast sequence z and its average x. The weights that the
optimizer holds while it trains are y, and so `w` is y; x follows from y and z.
"""

from __future__ import annotations

from optitrace.functions import Number, maximum, minimum, sqrt
from optitrace.rules.rule import StateEntry, rule

FAST_WEIGHTS = StateEntry("z", "z")
LARGEST_LR = StateEntry("lr_max", "lr_max", initial=-1.0, shape="group")
SUM_OF_SHARES = StateEntry("s", "weight_sum", shape="group")


@rule(
    FAST_WEIGHTS,
    LARGEST_LR,
    SUM_OF_SHARES,
    source="Defazio et al. 2024, arXiv:2405.15682, equations 3 to 5",
    departures=(
        "z begins as the weights.",
        "x is weighted by lr_max^weight_lr_power t^r, with the largest lr so far; in the paper evenly.",
        "The decay is that of y; the paper has none for SGD.",
    ),
    classes=("schedulefree.SGDScheduleFree", "pytorch_optimizer.ScheduleFreeSGD"),
)
def schedule_free_sgd(
    w: Number,
    g: Number,
    t: int,
    z: Number,
    lr_max: Number,
    s: Number,
    *,
    lr: float = 1.0,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    warmup_steps: int = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> tuple[Number, ...]:
    """SGD between its fast weights and their average, without a schedule."""
    gamma = lr * minimum(t / warmup_steps, 1) if warmup_steps else lr
    lr_max = maximum(lr_max, gamma)
    s = s + t**r * lr_max**weight_lr_power
    c = t**r * lr_max**weight_lr_power / s
    if weight_decay:
        g = g + weight_decay * w
    z = w if t == 1 else z
    w = (1 - c) * w + c * z - gamma * (1 - momentum * (1 - c)) * g
    z = z - gamma * g
    return w, z, lr_max, s


@rule(
    FAST_WEIGHTS,
    StateEntry("v", "exp_avg_sq"),
    LARGEST_LR,
    SUM_OF_SHARES,
    source="Defazio et al. 2024, arXiv:2405.15682, algorithm 1",
    departures=(
        "z begins as the weights.",
        "The bias of v is corrected in v; the paper corrects it in lr, and so weights x by it.",
        "x is weighted by lr_max^weight_lr_power t^r, with the largest lr so far; in the paper by lr^2.",
    ),
    classes=("schedulefree.AdamWScheduleFree", "pytorch_optimizer.ScheduleFreeAdamW"),
)
def schedule_free_adamw(
    w: Number,
    g: Number,
    t: int,
    z: Number,
    v: Number,
    lr_max: Number,
    s: Number,
    *,
    lr: float = 2.5e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    warmup_steps: int = 0,
    r: float = 0.0,
    weight_lr_power: float = 2.0,
) -> tuple[Number, ...]:
    """AdamW between its fast weights and their average, without a schedule."""
    beta1, beta2 = betas
    gamma = lr * minimum(t / warmup_steps, 1) if warmup_steps else lr
    lr_max = maximum(lr_max, gamma)
    s = s + t**r * lr_max**weight_lr_power
    c = t**r * lr_max**weight_lr_power / s
    v = beta2 * v + (1 - beta2) * g**2
    u = g / (sqrt(v / (1 - beta2**t)) + eps)
    if weight_decay:
        u = u + weight_decay * w
    z = w if t == 1 else z
    w = (1 - c) * w + c * z - gamma * (1 - beta1 * (1 - c)) * u
    z = z - gamma * u
    return w, z, v, lr_max, s
