"""`check`: what it compares, what it shows, and what it refuses."""

from __future__ import annotations

import collections
import json
import math
import os
import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lecture import BATCH, HIDDEN, notebook

import gpu_makemore
from gpu_makemore import BadVariable, ProgramFailed, ProgramNotFound, check

GRADIENTS = 26
VALUES = 19
PARAMETERS = ["C", "W1", "b1", "W2", "b2", "bngain", "bnbias"]


def without_gradients(variables: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in variables.items() if not name.startswith("d")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_notebook_agrees_in_all_tensors(dtype: str) -> None:
    found = check(notebook(np, dtype), show=False)
    assert found.passed and found.wrong == ()
    assert len(found.rows) == VALUES + GRADIENTS
    assert found.absent == ()
    assert found.sizes == {
        "vocab_size": 27, "block_size": 3, "n_embd": 10, "n_hidden": HIDDEN, "batch_size": BATCH,
    }  # fmt: skip
    assert found.summary == "45 of 45 tensors agree"
    assert found.device == "cpu"
    assert found["dlogits"].shape == (BATCH, 27)
    assert found["dlogits"].beyond == 0
    assert found["dlogit_maxes"].zero and not found["dlogits"].zero


def test_a_wrong_gradient_is_named_with_place_and_values() -> None:
    variables = notebook(np)
    variables["dW2"] = variables["dW2"].copy()
    variables["dW2"][5, 7] += 0.5
    variables["dW2"][6, 8] += 0.25
    found = check(variables, show=False)
    assert not found.passed
    (row,) = found.wrong
    assert (row.name, row.tensor, row.worst_index, row.beyond) == ("dW2", "W2", (5, 7), 2)
    assert row.worst_value == float(variables["dW2"][5, 7])
    assert abs(row.off_by - 0.5) < 1e-6 and row.off_by == row.maxdiff
    assert row.size == HIDDEN * 27
    assert found.summary == "1 of 45 tensors is wrong; the first is dW2"


def test_the_first_wrong_tensor_is_the_one_at_fault() -> None:
    found = check(notebook(np, forgetful=True), show=False)
    assert [row.name for row in found.wrong] == ["dbndiff", "dhprebn", "dembcat", "dW1", "demb", "dC"]


def test_the_text_has_the_columns_of_cmp_and_where_it_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    found = check(notebook(np, forgetful=True))
    text = capsys.readouterr().out
    assert text == found.text + "\n"
    lines = text.splitlines()
    assert lines[0].split() == ["tensor", "exact", "approximate", "maxdiff", "allowed", "verdict"]
    at = next(i for i, line in enumerate(lines) if line.startswith("dbndiff "))
    assert lines[at].split()[1:3] == ["False", "False"] and lines[at].endswith("WRONG")
    row = found["dbndiff"]
    place = f"[{row.worst_index[0]}, {row.worst_index[1]}]"
    assert lines[at + 1].startswith(
        f"    {row.beyond:,} of 2,048 elements are wrong, most of all at {place}: "
    )
    assert sum(line.endswith("WRONG") for line in lines) == 6
    assert "gpu_makemore.explain('bndiff')" in lines[-1]
    assert repr(found) == "<Check: 6 of 45 tensors are wrong; the first is dbndiff>"


def test_nothing_is_printed_if_that_is_not_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    check(notebook(np), show=False)
    assert capsys.readouterr() == ("", "")


class Rows(HTMLParser):
    """The rows of a table with their classes; and whether each tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[tuple[str | None, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append((dict(attrs).get("class"), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][1].append(data)


def test_the_html_marks_the_wrong_rows_and_has_the_derivation() -> None:
    found = check(notebook(np, forgetful=True), show=False)
    page = Rows()
    page.feed(found.html)
    assert page.open == []
    assert [cells[0] for kind, cells in page.rows if kind == "wrong"] == [row.name for row in found.wrong]
    assert sum(kind == "where" for kind, _ in page.rows) == 6
    assert len(page.rows) == 1 + 45 + 6
    assert "backward: dbndiff = bnvar_inv * dbnraw" in found.html
    right = check(notebook(np), show=False).html
    assert '"wrong"' not in right and '"right"' in right


def test_gradients_may_have_any_of_their_names() -> None:
    variables = notebook(np)
    plain = without_gradients(variables)
    wrong = variables["dlogits"] * 2
    d = {"logits": wrong, "h": variables["dh"]}
    for given, label in [
        (plain | {"dlogits": wrong}, "dlogits"),
        (plain | {"d.logits": wrong}, "d.logits"),
        (plain | {"d": d}, "d.logits"),
        (plain | {"d": types.SimpleNamespace(**d)}, "d.logits"),
    ]:
        found = check(given, show=False)
        assert [row.name for row in found.wrong] == [label]


def test_a_gradient_that_is_there_twice_is_refused() -> None:
    variables = notebook(np)
    with pytest.raises(BadVariable, match=r"the gradient of logits is there twice: as d\.logits and dlogits"):
        check(variables | {"d": {"logits": variables["dlogits"]}}, show=False)


def test_none_stands_for_what_is_not_there() -> None:
    found = check(notebook(np) | {"dlogits": None, "h": None}, show=False)
    assert set(found.absent) == {"d.logits", "h"}
    assert "absent: h, d.logits" in found.text
    with pytest.raises(ProgramFailed, match="it lacks W2"):
        check(notebook(np) | {"W2": None}, show=False)


def test_values_alone_can_be_checked() -> None:
    found = check(without_gradients(notebook(np)), show=False)
    assert len(found.rows) == VALUES and len(found.absent) == GRADIENTS


def test_the_lectures_minibatch_goes_before_another() -> None:
    variables = notebook(np)
    stale = {"X": variables["Xb"][::-1], "Y": variables["Yb"][::-1]}
    assert check(variables | stale, show=False).passed
    renamed = {"X": variables.pop("Xb"), "Y": variables.pop("Yb")}
    assert check(variables | renamed, show=False).passed
    # Half of a pair is no minibatch.
    assert check(variables | renamed | {"Xb": stale["X"]}, show=False).passed


def test_embcat_may_have_the_shape_of_emb() -> None:
    variables = notebook(np)
    assert check(variables | {"embcat": variables["emb"]}, show=False).passed


def test_arrays_may_be_views_and_of_other_byte_orders() -> None:
    variables = notebook(np)
    variables["dW2"] = np.asfortranarray(variables["dW2"])
    variables["dh"] = np.repeat(variables["dh"], 2, axis=1)[:, ::2]
    variables["b1"] = variables["b1"].astype(">f4")
    variables["Xb"] = variables["Xb"].astype("int16")
    assert check(variables, show=False).passed


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_is_wrong(value: float) -> None:
    variables = notebook(np)
    variables["dh"] = variables["dh"].copy()
    variables["dh"][1, 2] = value
    (row,) = check(variables, show=False).wrong
    assert row.name == "dh" and row.worst_index == (1, 2) and row.beyond == 1
    assert not math.isfinite(row.maxdiff) and not math.isfinite(row.worst_value)


class Net:
    """Neither an array nor a tensor."""


@pytest.mark.parametrize("name", ["C", "h", "dlogits"])
@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda x: x, "is a function"),
        (len, "is a function"),
        (Net, "is the class Net"),
        (Net(), "is of the type Net"),
        (collections.Counter("abc"), "is of the type Counter"),
        (sys, "is of the type module"),
        ("text", "is of the type str"),
        ([[1.0]], "is of the type list"),
        (1.5, "is of the type float"),
        (np.array(["a"]), "holds str32 values"),
        (np.array([1j], dtype="complex64"), "holds complex64 values"),
        (np.array([object()]), "holds object values"),
    ],
)
def test_a_variable_that_is_no_tensor_is_named(name: str, value: object, what: str) -> None:
    with pytest.raises(
        BadVariable, match=rf"the variable '{name}' {what}.*wanted is an array of shape \("
    ) as raised:
        check(notebook(np) | {name: value}, show=False)
    assert raised.value.name == name


def test_what_is_not_the_lectures_is_not_looked_at() -> None:
    others = {"loss": 3.3, "words": ["a"], "np": np, "F": Net, "cmp": len, "_": None, "x.grad": "text"}
    assert check(notebook(np) | others, show=False).passed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"W2": np.zeros((3, 4), "f4")},
            r"the tensor 'W2' has the shape \[3, 4\], but \[64, 27\] is expected",
        ),
        (
            {"dlogits": np.zeros((27, 32), "f4")},
            r"the tensor 'dlogits' has the shape \[27, 32\], but \[32, 27\]",
        ),
        ({"dh": np.zeros((BATCH, HIDDEN), "f2")}, r"'dh' holds F16 values.*convert it with \.float\(\)"),
        ({"Xb": np.zeros((BATCH, 3), "f4")}, r"'Xb' holds F32 values instead of integers"),
        ({"Xb": np.full((BATCH, 3), 27)}, r"Xb\[0, 0\] is 27, but C has 27 rows"),
        ({"b1": np.full(HIDDEN, np.nan, "f4")}, r"b1\[0\] is NaN, which is not a finite number"),
    ],
)
def test_what_does_not_fit_is_told_in_the_programs_words(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProgramFailed, match=message) as raised:
        check(notebook(np) | change, show=False)
    # Nobody knows the file in which the variables are passed.
    assert raised.value.line.startswith("cannot check the notebook: ")
    assert ".safetensors" not in raised.value.line and raised.value.exit_code == 1


def test_an_empty_notebook_lacks_everything() -> None:
    with pytest.raises(ProgramFailed, match="it lacks X, Y, C, W1, b1, W2, b2, bngain, bnbias"):
        check({}, show=False)


def test_a_device_that_is_not_there_is_the_programs_error() -> None:
    with pytest.raises(ProgramFailed, match="nope"):
        check(notebook(np), backend="nope", show=False)


def test_explain_prints_the_derivation() -> None:
    assert "backward: dbndiff = bnvar_inv * dbnraw" in gpu_makemore.explain("bndiff")
    with pytest.raises(ProgramFailed, match="no such tensor; the tensors are loss, logprobs"):
        gpu_makemore.explain("nope")


# ------------------------------------------------------------------------------------ tensors of PyTorch


class Tensor:
    """What this package asks of a tensor of PyTorch; docs/frameworks.py asks PyTorch itself."""

    layout = "torch.strided"

    def __init__(
        self, values: Any, dtype: str = "torch.float32", leaf: bool = True, grad: Any = None
    ) -> None:
        self.values, self.dtype, self.is_leaf, self._grad = values, dtype, leaf, grad
        self.retains_grad = False
        self.where = "cuda"

    @property
    def grad(self) -> Any:
        assert self.is_leaf or self.retains_grad, "PyTorch warns here"
        return self._grad

    def detach(self) -> Tensor:
        found = Tensor(self.values, self.dtype)
        found.where = self.where
        return found

    def cpu(self) -> Tensor:
        self.where = "cpu"
        return self

    def resolve_conj(self) -> Tensor:
        return self

    def resolve_neg(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        if self.where != "cpu":
            raise TypeError("can't convert cuda device type tensor to numpy")
        return self.values


def tensors(variables: dict[str, Any]) -> dict[str, Any]:
    return {name: Tensor(value) for name, value in variables.items() if isinstance(value, np.ndarray)}


def test_tensors_of_another_device_are_read() -> None:
    assert check(tensors(notebook(np)), show=False).passed


def test_autograds_gradients_are_compared_where_there_are_no_others() -> None:
    variables = tensors(notebook(np))
    plain = without_gradients(variables)
    for name in ("logits", "W1"):
        plain[name]._grad = variables[f"d{name}"]
    plain["W1"]._grad = Tensor(variables["dW1"].values + 1)
    plain["h"] = Tensor(variables["h"].values, leaf=False, grad=variables["dh"])
    plain["probs"] = Tensor(variables["probs"].values, leaf=False, grad=variables["dprobs"])
    plain["probs"].retains_grad = True
    found = check(plain, show=False)
    gradients = [row.name for row in found.rows if row.name.endswith(".grad")]
    assert gradients == ["probs.grad", "logits.grad", "W1.grad"]
    assert [row.name for row in found.wrong] == ["W1.grad"]
    # What was computed by hand is what a student asks about.
    own = check(plain | {"dlogits": variables["dlogits"]}, show=False)
    assert own.passed and "d.W1" in own.absent


def test_a_type_that_numpy_lacks_is_named_with_the_way_out() -> None:
    half = Tensor(None, "torch.bfloat16")
    with pytest.raises(BadVariable, match=r"'h' of the type Tensor cannot be read: .*bfloat16.*\.float\(\)"):
        check(notebook(np) | {"h": half}, show=False)


# ------------------------------------------------------------------------------------------- the program


def test_without_the_program_the_error_says_where_it_was_looked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPU_MAKEMORE_PROGRAM", str(folder / "none"))
    with pytest.raises(ProgramNotFound, match=r"GPU_MAKEMORE_PROGRAM=.*none"):
        check(notebook(np), show=False)
    monkeypatch.delenv("GPU_MAKEMORE_PROGRAM")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("gpu_makemore._program._script_folders", lambda: [folder / "scripts"])
    with pytest.raises(ProgramNotFound, match=r"looked for in .*scripts, PATH; `pip install gpu-makemore`"):
        check(notebook(np), show=False)


def test_the_program_beside_the_package_goes_before_the_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPU_MAKEMORE_PROGRAM")
    for name in ("scripts", "path"):
        program(folder / name / "gpu-makemore", "exit 0")
    monkeypatch.setenv("PATH", str(folder / "path"))
    monkeypatch.setattr("gpu_makemore._program._script_folders", lambda: [folder / "none"])
    assert gpu_makemore.program() == str(folder / "path/gpu-makemore")
    monkeypatch.setattr(
        "gpu_makemore._program._script_folders", lambda: [folder / "none", folder / "scripts"]
    )
    assert gpu_makemore.program() == str(folder / "scripts/gpu-makemore")


def program(path: Path, script: str) -> None:
    """A program of the tests' own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_program_that_is_too_old_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"version": "0.0.9", "device": "cpu", "absent": [], "tensors": [{"name": "h"}]}
    (folder / "old.json").write_text(json.dumps(old))
    program(folder / "old", f"cat {folder}/old.json")
    monkeypatch.setenv("GPU_MAKEMORE_PROGRAM", str(folder / "old"))
    with pytest.raises(ProgramFailed, match=r"of the version 0\.0\.9, which does not print 'shape'"):
        check(notebook(np), show=False)


def test_a_program_that_dies_without_a_word_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(folder / "dies", "kill -9 $$")
    monkeypatch.setenv("GPU_MAKEMORE_PROGRAM", str(folder / "dies"))
    with pytest.raises(ProgramFailed, match="gpu-makemore ended with the exit code -9"):
        check(notebook(np), show=False)


def test_nothing_is_left_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    check(notebook(np), show=False)
    with pytest.raises(ProgramFailed):
        check({}, show=False)
    assert os.listdir(folder) == []
