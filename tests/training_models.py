"""Small models that machines train in tests."""

from anachron.compiler.language import parse
from anachron.compiler.model import Model

TEXT = """\
model small
size      dim = 16, seq_len = {n}, vocab_size = 10
tokenizer digits
task      {task}
train     sgd(steps = 12, window = 5)

tok    = embed(token, dim)
pos    = embed(position, dim)
x      = tok + pos
q      = linear(x, dim)
k      = linear(x, dim)
v      = linear(x, dim)
y      = x + attention(q, k, v)
logits = linear(y, vocab_size)
"""


def small(n: int = 8, task: str = "reverse", text: str = TEXT) -> Model:
    return parse(text.format(n=n, task=task)).model
