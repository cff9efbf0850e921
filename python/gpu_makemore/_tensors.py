"""The lecture's tensors, and how they are taken out of a notebook."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ._errors import BadVariable

Array = npt.NDArray[Any]

#: The parameters with their shapes.
PARAMETERS: dict[str, str] = {
    "C": "(vocab, n_embd)",
    "W1": "(block_size * n_embd, n_hidden)",
    "b1": "(n_hidden)",
    "W2": "(n_hidden, vocab)",
    "b2": "(vocab)",
    "bngain": "(1, n_hidden)",
    "bnbias": "(1, n_hidden)",
}

#: The values of the forward pass with their shapes, in its order.
VALUES: dict[str, str] = {
    "emb": "(batch, block_size, n_embd)",
    "embcat": "(batch, block_size * n_embd)",
    "hprebn": "(batch, n_hidden)",
    "bnmeani": "(1, n_hidden)",
    "bndiff": "(batch, n_hidden)",
    "bndiff2": "(batch, n_hidden)",
    "bnvar": "(1, n_hidden)",
    "bnvar_inv": "(1, n_hidden)",
    "bnraw": "(batch, n_hidden)",
    "hpreact": "(batch, n_hidden)",
    "h": "(batch, n_hidden)",
    "logits": "(batch, vocab)",
    "logit_maxes": "(batch, 1)",
    "norm_logits": "(batch, vocab)",
    "counts": "(batch, vocab)",
    "counts_sum": "(batch, 1)",
    "counts_sum_inv": "(batch, 1)",
    "probs": "(batch, vocab)",
    "logprobs": "(batch, vocab)",
}

#: What the program reads. float16 and bool are passed on, and it names them in its error.
_DTYPES = frozenset(
    [
        "float64",
        "float32",
        "float16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint64",
        "uint32",
        "uint16",
        "uint8",
        "bool",
    ]
)


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


def array(name: str, value: object, wanted: str) -> Array:
    """A variable as a NumPy array: a tensor of PyTorch or an array of NumPy or JAX, on any device.

    Raises:
        BadVariable: it is something else. `wanted` tells which shape it should have.
    """
    kind = type(value).__name__

    def bad(why: str) -> BadVariable:
        return BadVariable(name, f"the variable {name!r} {why}; wanted is an array of shape {wanted}")

    if isinstance(value, type):
        raise bad(f"is the class {value.__name__}")
    is_torch = hasattr(value, "detach") and hasattr(value, "cpu")
    if not is_torch and not hasattr(value, "__array__"):
        what = "a function" if isinstance(value, _FUNCTIONS) else f"of the type {kind}"
        raise bad(f"is {what}")
    try:
        found = _torch(value) if is_torch else np.asarray(value)
    except Exception as error:  # whatever a framework raises of a tensor without values
        lines = str(error).splitlines() or [type(error).__name__]
        raise bad(f"of the type {kind} cannot be read: {lines[0]}") from error
    if found.dtype.name not in _DTYPES:
        raise bad(f"holds {found.dtype.name} values, and float32 or float64 are read")
    # In the byte order of this machine, row-major.
    return np.ascontiguousarray(found, dtype=found.dtype.newbyteorder("="))


def _torch(value: Any) -> Array:
    """The values of a tensor of PyTorch, without importing it here."""
    tensor = value.detach()
    if str(tensor.layout) != "torch.strided":
        tensor = tensor.to_dense()
    if str(tensor.dtype) == "torch.bfloat16":
        raise TypeError("it holds bfloat16 values; convert it with .float()")
    found: Array = tensor.cpu().resolve_conj().resolve_neg().numpy()
    return found


def gradient_of(value: object) -> object | None:
    """What PyTorch's autograd has left in ``.grad``, if anything."""
    if isinstance(value, type) or not hasattr(value, "detach"):
        return None
    # Asking any other tensor for it makes PyTorch warn.
    if getattr(value, "is_leaf", False) or getattr(value, "retains_grad", False):
        found: object | None = getattr(value, "grad", None)
        return found
    return None


def members(container: object) -> Mapping[str, object]:
    """The gradients in a variable `d`: the items of a dict, or the attributes of an object."""
    if isinstance(container, Mapping):
        return container
    if isinstance(container, type) or not hasattr(container, "__dict__"):
        return {}
    return vars(container)
