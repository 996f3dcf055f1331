"""The reader of rules: shows a rule as mathematics, and one step of it in numbers.

The rule's own function is read, so that what is shown is what is verified, swept and compared.

`read` gives a `Reading`, which shows the rule (`Reading.formulas`) and explains a step
(`Reading.explain`). Formulas are spelled in `UNICODE` or in `ASCII`.

>>> from optitrace.rules.families.gradient_descent import sgd
>>> settings = {"lr": 0.01, "momentum": 0.1}
>>> step = read(sgd).explain(0.49, 0.98, 2, {"momentum_buffer": 1.0}, settings)
>>> for line in step.lines:
...     print(line)
b = momentum·b + (1 − dampening)·g = 0.1·1.0000 + (1 − 0)·0.9800 = 1.0800
g = b = 1.0800
w = w − lr·g = 0.4900 − 0.01·1.0800 = 0.4792
"""

from optitrace.rules.reader.lines import RuleLine
from optitrace.rules.reader.notation import ASCII, UNICODE, Spelling
from optitrace.rules.reader.parts import Part
from optitrace.rules.reader.reading import Reading, StepExplanation, read
from optitrace.rules.reader.statements import check_declaration

__all__ = [
    "ASCII",
    "UNICODE",
    "Part",
    "Reading",
    "RuleLine",
    "Spelling",
    "StepExplanation",
    "check_declaration",
    "read",
]
