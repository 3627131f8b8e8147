"""Program text or checkpoint in, machine image out: the passes in order, and the public API.

>>> import anachron.compiler as ac
>>> fixed = ac.quantize(ac.load("reverse"))
>>> ac.run_reference(fixed, "31415926").text
'62951413'
"""

if __name__ != "anachron.compiler":
    raise ImportError("import anachron.compiler, not compiler; run `pip install -e .` first")

import os

# Matrices are tiny here: threads would wait for each other longer than they compute.  It is read
# when numpy is first loaded, so it stands before everything that does.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from anachron.compiler.building import build
from anachron.compiler.comparison import Comparison, compare
from anachron.compiler.fidelity import Fidelity, measure_fidelity
from anachron.compiler.fixed import FixedModel
from anachron.compiler.image import Image
from anachron.compiler.loader import load
from anachron.compiler.model import Model, ModelError
from anachron.compiler.quantization import quantize
from anachron.compiler.run import (
    Conversation,
    Run,
    converse,
    run_image,
    run_reference,
)
from anachron.compiler.sampling import Sampling
from anachron.compiler.targets import MACHINES, TARGETS, DoesNotFit, MissingKernel, Options

# Text or checkpoint -> Model -> FixedModel -> Image -> Run -> Comparison.
PIPELINE = (load, quantize, build, run_image, compare)

__all__ = [
    "MACHINES",
    "PIPELINE",
    "TARGETS",
    "Comparison",
    "Conversation",
    "DoesNotFit",
    "Fidelity",
    "FixedModel",
    "Image",
    "MissingKernel",
    "Model",
    "ModelError",
    "Options",
    "Run",
    "Sampling",
    "build",
    "compare",
    "converse",
    "load",
    "measure_fidelity",
    "quantize",
    "run_image",
    "run_reference",
]
