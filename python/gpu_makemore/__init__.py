"""Check your backward pass of the lecture "makemore, part 4: becoming a backprop ninja", and train its network.

In a notebook::

    import gpu_makemore

    gpu_makemore.check(globals())           # the lecture's cmp, for all values and gradients
    run = gpu_makemore.train(steps=20_000)  # hand-written GPU kernels, or the CPU
    run.sample(5, prefix="mar")
    model = gpu_makemore.load(run.path)     # tensors, vocabulary, sizes
    gpu_makemore.save("mine.safetensors", globals(), words)
"""

from ._check import Check, Row, check, explain
from ._errors import BadModel, BadVariable, Interrupted, MakemoreError, ProgramFailed, ProgramNotFound
from ._model import Model, load, save
from ._program import program
from ._run import Picture, Run, sample, train

__all__ = [
    "BadModel",
    "BadVariable",
    "Check",
    "Interrupted",
    "MakemoreError",
    "Model",
    "Picture",
    "ProgramFailed",
    "ProgramNotFound",
    "Row",
    "Run",
    "check",
    "explain",
    "load",
    "program",
    "sample",
    "save",
    "train",
]
