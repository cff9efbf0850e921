"""A notebook's backward pass, compared with the program's."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from . import _table
from ._errors import BadVariable, ProgramFailed
from ._notebook import show_bundle
from ._program import completed, failure, output
from ._tensors import PARAMETERS, VALUES, Array, array, gradient_of, members

#: What an error calls the variables: the program only knows the file that they are passed in.
_VARIABLES = "the notebook"


@dataclass(frozen=True)
class Row:
    """One tensor of the notebook, compared with the program's."""

    #: What the notebook calls it: ``probs``, ``dprobs``, ``d.probs`` or ``probs.grad``.
    name: str
    #: The lecture's name of the tensor whose value or gradient it is: ``probs``.
    tensor: str
    #: Its shape.
    shape: tuple[int, ...]
    #: Whether all values are equal as float32, as in the lecture's ``cmp``.
    exact: bool
    #: Whether ``torch.allclose`` holds, as in the lecture's ``cmp``.
    approximate: bool
    #: The largest difference; NaN if there is a value that is not finite.
    maxdiff: float
    #: The largest distance in units of the last place of float32.
    max_ulps: int
    #: Whether it is zero for any data, but for rounding: ``dlogit_maxes`` and ``db1``.
    zero: bool
    #: The place of the worst element.
    worst_index: tuple[int, ...]
    #: Its value in the notebook.
    worst_value: float
    #: Its value by the program.
    worst_expected: float
    #: The difference that is allowed there, a bound on the rounding.
    allowed: float
    #: How many elements differ by more than what is allowed them.
    beyond: int
    #: Whether none does.
    passed: bool

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def off_by(self) -> float:
        """The difference of the worst element."""
        return abs(self.worst_value - self.worst_expected)


@dataclass(frozen=True)
class Check:
    """What :func:`check` has found."""

    #: All tensors that were compared: values in the order of the forward pass, gradients in that of the
    #: backward pass. So the first that is wrong is the one at fault.
    rows: tuple[Row, ...]
    #: Tensors that the notebook lacks; ``d.probs`` is the gradient of ``probs``.
    absent: tuple[str, ...]
    #: What computed the other side: ``cpu``, or the name of a GPU.
    device: str
    #: ``vocab_size``, ``block_size``, ``n_embd``, ``n_hidden`` and ``batch_size``.
    sizes: dict[str, int] = field(hash=False)

    @property
    def passed(self) -> bool:
        """Whether every tensor agrees."""
        return all(row.passed for row in self.rows)

    @property
    def wrong(self) -> tuple[Row, ...]:
        """The tensors that do not agree."""
        return tuple(row for row in self.rows if not row.passed)

    @property
    def text(self) -> str:
        """The table as text."""
        return _table.text(self)

    @property
    def html(self) -> str:
        """The table as HTML, with the derivation of the first wrong tensor."""
        return _table.html(self, explain(self.wrong[0].tensor) if self.wrong else None)

    @property
    def summary(self) -> str:
        """One line: how many tensors agree, and which is the first that does not."""
        return _table.summary(self)

    def show(self) -> None:
        """Shows the table: HTML in a notebook, text elsewhere."""
        show_bundle(self.text, lambda: self.html)

    def __getitem__(self, name: str) -> Row:
        """The row of a tensor by the name that it has in the notebook."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def __repr__(self) -> str:
        return f"<Check: {self.summary}>"


def check(
    variables: Mapping[str, object],
    *,
    backend: str | None = None,
    adapter: int | str | None = None,
    show: bool = True,
) -> Check:
    """Compares your forward and backward pass with the program's: ``check(globals())``.

    The program computes from ``Xb`` and ``Yb`` (or ``X`` and ``Y``) and the seven parameters ``C``, ``W1``,
    ``b1``, ``W2``, ``b2``, ``bngain`` and ``bnbias``, all of which must be there. Then it compares what else
    there is of the lecture's tensors: the values of the forward pass under their names, and gradients. Other
    variables are not looked at. The exercises' shapes are those of the lecture: ``dlogits`` is
    ``(batch, vocab)``.

    The gradient of ``logits`` is ``dlogits``, or ``d.logits``: an item ``"logits"`` of a dict ``d``, an attribute
    of an object ``d``, or an item ``"d.logits"`` of `variables`. If there is no such gradient of any tensor, those
    that PyTorch has left in ``logits.grad`` are compared. ``None`` stands for a tensor that is not there.

    Args:
        variables: names and tensors of PyTorch, or arrays of NumPy or JAX, on any device. Tokens are integers,
            and all else is float32 or float64.
        backend: what computes: ``auto``, ``vulkan``, ``metal``, ``dx12``, ``gl`` or ``cpu``.
        adapter: which GPU: its number, or a part of its name.
        show: whether to show the table.

    Returns:
        The rows of the table. Wrong gradients are no error: ``assert check(globals()).passed``.

    Raises:
        BadVariable: a variable with the name of a tensor is none.
        ProgramFailed: what is needed is missing, or a shape or a type is wrong; the message names it.
        ProgramNotFound: the program is missing.
    """
    tensors = _collect(variables)
    options = [f"--backend={backend}"] if backend is not None else []
    options += [f"--adapter={adapter}"] if adapter is not None else []
    with tempfile.TemporaryDirectory(prefix="gpu-makemore-") as folder:
        file = Path(folder) / "notebook.safetensors"
        save_file(tensors, file)
        ended = completed(["gradcheck", "--json", "--against", str(file), *options])
    found = _parse(ended.stdout)
    if found is None:
        stderr = ended.stderr.replace(str(file), _VARIABLES)
        raise failure(ended.returncode, stderr)
    if show:
        found.show()
    return found


def explain(name: str) -> str:
    """How the gradient of a tensor is derived: its forward line, the derivation, and its backward line.

    Raises:
        ProgramFailed: there is no tensor of this name; the message lists all.
    """
    return output(["gradcheck", "--explain", name]).rstrip("\n")


def _collect(variables: Mapping[str, object]) -> dict[str, Array]:
    """What is compared, under names that the program reads."""
    tensors: dict[str, Array] = {}
    for name, wanted in (_inputs(variables) | PARAMETERS | VALUES).items():
        value = variables.get(name)
        if value is not None:
            tensors[name] = array(name, value, wanted)
    own = dict(_own_gradients(variables))
    gradients = own or dict(_autograd(variables))
    for name, (value, wanted) in gradients.items():
        tensors[name] = array(name, value, wanted)
    return tensors


def _inputs(variables: Mapping[str, object]) -> dict[str, str]:
    """The names of the minibatch: the lecture's, if both are there."""
    there = [name for name in ("Xb", "Yb", "X", "Y") if variables.get(name) is not None]
    if "Xb" in there and "Yb" in there:
        names = ("Xb", "Yb")
    elif "X" in there and "Y" in there:
        names = ("X", "Y")
    else:
        names = ("Xb" if "Xb" in there else "X", "Yb" if "Yb" in there else "Y")
    return dict(zip(names, ("(batch, block_size)", "(batch)"), strict=True))


Gradient = tuple[str, tuple[object, str]]


def _own_gradients(variables: Mapping[str, object]) -> list[Gradient]:
    """Gradients that were computed by hand, with their shapes."""
    inside = members(variables.get("d"))
    found: list[Gradient] = []
    for name, wanted in (PARAMETERS | VALUES).items():
        places = {
            f"d.{name}": [variables.get(f"d.{name}"), inside.get(name)],
            f"d{name}": [variables.get(f"d{name}")],
        }
        there = [(label, value) for label, values in places.items() for value in values if value is not None]
        if len(there) > 1:
            labels = " and ".join(label for label, _ in there)
            raise BadVariable(name, f"the gradient of {name} is there twice: as {labels}; keep one of them")
        found.extend((label, (value, wanted)) for label, value in there)
    return found


def _autograd(variables: Mapping[str, object]) -> list[Gradient]:
    """Gradients that PyTorch has computed, with their shapes."""
    found: list[Gradient] = []
    for name, wanted in (PARAMETERS | VALUES).items():
        value = gradient_of(variables.get(name))
        if value is not None:
            found.append((f"{name}.grad", (value, wanted)))
    return found


def _parse(text: str) -> Check | None:
    """What the program printed; nothing, if it came to no table."""
    if not text.startswith("{"):
        return None
    found = json.loads(text)
    try:
        return Check(
            rows=tuple(_row(row) for row in found["tensors"]),
            absent=tuple(found["absent"]),
            device=found["device"],
            sizes={key: found[key] for key in _SIZES},
        )
    except KeyError as missing:
        version = found.get("version", "unknown")
        line = f"its program is of the version {version}, which does not print {missing}: install one of this package's"
        raise ProgramFailed(line, 0) from None


_SIZES = ("vocab_size", "block_size", "n_embd", "n_hidden", "batch_size")


def _row(row: dict[str, Any]) -> Row:
    shape = tuple(row["shape"])
    return Row(
        name=row["name"],
        tensor=row["tensor"],
        shape=shape,
        exact=row["exact"],
        approximate=row["approximate"],
        maxdiff=_number(row["maxdiff"]),
        max_ulps=row["max_ulps"],
        zero=row["zero"],
        worst_index=tuple(int(place) for place in np.unravel_index(row["worst_index"], shape)),
        worst_value=_number(row["worst_value"]),
        worst_expected=_number(row["worst_expected"]),
        allowed=_number(row["allowed"]),
        beyond=row["beyond"],
        passed=row["pass"],
    )


def _number(value: float | None) -> float:
    """JSON has no way to write NaN and infinities: they are null."""
    return math.nan if value is None else value
