"""`load` and `save`: what they read and write, and what they refuse."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lecture import contexts, words
from safetensors.numpy import load_file, save_file

import gpu_makemore
from gpu_makemore import BadModel, BadVariable, Model, Run, load, save
from gpu_makemore._model import RANGES

VOCAB = ".abcdefghijklmnopqrstuvwxyz"
SHAPES = {
    "C": (27, 10), "W1": (30, 24), "b1": (24,), "W2": (24, 27), "b2": (27,),
    "bngain": (1, 24), "bnbias": (1, 24), "bnmean": (1, 24), "bnvar": (1, 24),
}  # fmt: skip


def run(*arguments: object) -> str:
    """What a command prints, which has to succeed."""
    command = [gpu_makemore.program(), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


# -------------------------------------------------------------------------------------------------- load


def test_a_model_has_tensors_vocabulary_and_sizes(trained: Run) -> None:
    model = load(trained.path)
    assert (model.vocab, model.vocab_size) == (VOCAB, 27)
    assert (model.block_size, model.n_embd, model.n_hidden) == (3, 10, 24)
    assert model.stoi["a"] == 1 and model.itos[26] == "z"
    assert {name: tensor.shape for name, tensor in model.tensors.items()} == SHAPES
    want = load_file(trained.path / "model.safetensors")
    for name, tensor in model.tensors.items():
        assert tensor.dtype == np.float32 and (tensor == want[name]).all()
        tensor += 1  # they may be changed
    assert model["C"] is model.tensors["C"]
    assert model.config["steps"] == 2000 and model.config["data"] == "names"
    assert load(trained.path / "model.safetensors").path == model.path


@pytest.mark.parametrize("file", ["best.safetensors", "last.safetensors"])
def test_the_other_files_of_a_run_are_models_too(trained: Run, file: str) -> None:
    assert load(trained.path / file).n_hidden == 24


def test_the_loaded_model_computes_the_losses_of_the_run(trained: Run) -> None:
    model = load(trained.path)
    some = words()
    import random

    random.seed(42)
    random.shuffle(some)
    X, Y = (
        np.array(part) for part in contexts(some[int(0.8 * len(some)) : int(0.9 * len(some))], model.stoi)
    )
    hprebn = model["C"][X].reshape(len(X), -1) @ model["W1"] + model["b1"]
    bnraw = (hprebn - model["bnmean"]) * (model["bnvar"] + 1e-5) ** -0.5
    logits = np.tanh(model["bngain"] * bnraw + model["bnbias"]) @ model["W2"] + model["b2"]
    logits -= logits.max(1, keepdims=True)
    logprobs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert abs(-logprobs[np.arange(len(Y)), Y].mean() - trained.val_loss) < 1e-4


def test_a_file_that_was_changed_is_refused(trained: Run, folder: Path) -> None:
    whole = (trained.path / "model.safetensors").read_bytes()
    file = folder / "changed.safetensors"
    # A tensor's value, and the metadata.
    for old, new in [(whole[-1:], bytes([whole[-1] ^ 1])), (b'\\"steps\\":2000', b'\\"steps\\":2001')]:
        at = whole.rindex(old)
        file.write_bytes(whole[:at] + new + whole[at + len(old) :])
        with pytest.raises(BadModel, match=r"changed\.safetensors: its checksum is not that of its content"):
            load(file)
    file.write_bytes(whole[:-1])
    with pytest.raises(BadModel, match="not a safetensors file, or it is damaged"):
        load(file)
    file.write_bytes(whole)
    load(file)


def test_a_file_from_elsewhere_is_told_from_a_damaged_one(folder: Path) -> None:
    save_file({"C": np.zeros((27, 10), "f4")}, folder / "other.safetensors")
    with pytest.raises(BadModel, match=r"other\.safetensors: it was written by another program"):
        load(folder / "other.safetensors")
    (folder / "words.txt").write_text("anna\n")
    with pytest.raises(BadModel, match=r"words\.txt: it is not a safetensors file"):
        load(folder / "words.txt")
    for text in ["[]", "{}", '{"format":1}', "words", '{"format":2,"sha256":""}']:
        save_file({"C": np.zeros(1, "f4")}, folder / "odd.safetensors", metadata={"gpu-makemore": text})
        with pytest.raises(BadModel, match=r"its metadata cannot be read|it has the format 2"):
            load(folder / "odd.safetensors")


def test_a_run_that_is_not_finished_is_told(trained: Run, folder: Path) -> None:
    shutil.copy(trained.path / "last.safetensors", folder / "last.safetensors")
    with pytest.raises(
        BadModel, match=r"the run is not finished; gpu_makemore\.load\('.*last\.safetensors'\)"
    ):
        load(folder)


def test_no_file_is_an_error_of_the_operating_system(folder: Path) -> None:
    for path in (folder / "none.safetensors", folder):
        with pytest.raises(FileNotFoundError, match=r"\.safetensors"):
            load(path)


# -------------------------------------------------------------------------------------------------- save


def test_every_command_takes_what_is_saved(trained: Run) -> None:
    model = load(trained.path)
    saved = save("mine.safetensors", model.tensors, model.vocab, data="names", steps=2000)
    assert saved.path == Path("mine.safetensors") and saved.vocab == VOCAB
    for name, tensor in saved.tensors.items():
        assert (tensor == model[name]).all()
    losses = [line for line in run("eval", "--checkpoint", trained.path).splitlines() if "examples)" in line]
    printed = run("eval", "--checkpoint", "mine.safetensors").splitlines()
    assert len(losses) == 3 and [line for line in printed if "examples)" in line] == losses
    assert gpu_makemore.sample("mine.safetensors", 5) == trained.sample(5)
    assert VOCAB in run("show", "mine.safetensors")
    assert "start       mine.safetensors: loss over" in run(
        "train", "--init-from", "mine.safetensors", "--steps", 1
    )
    assert "tensors agree" in run("gradcheck", "--init-from", "mine.safetensors")
    assert (
        json.loads(run("sample", "--checkpoint", "mine.safetensors", "-n", 1, "--json"))["training_word"]
        is not None
    )


def test_the_vocabulary_is_that_of_words_or_given(trained: Run) -> None:
    tensors = load(trained.path).tensors
    shuffled = words()[::-1]
    assert save("a.safetensors", tensors, shuffled).config["data"] == "names"
    assert save("b.safetensors", tensors, dict(enumerate(VOCAB)), data="names").vocab == VOCAB
    full_stop = save("c.safetensors", tensors, [".bcdefghijklm", "nopqrstuvwxyz"], data="mine.txt")
    assert full_stop.vocab == "␃.bcdefghijklmnopqrstuvwxyz" and full_stop.config["data"] == "mine.txt"
    assert len(gpu_makemore.sample("c.safetensors", 3)) == 3
    assert load("a.safetensors").tensors.keys() == tensors.keys()


def test_a_model_of_other_words_has_its_vocabulary(folder: Path) -> None:
    (folder / "größe ß.txt").write_text("größe\nweiß\nmaß\nfuß\nsüß\nspaß\ngruß\n" * 20)
    trained = gpu_makemore.train("größe ß.txt", steps=20, n_hidden=8, n_embd=2, block_size=2, show=False)
    model = load(trained.path)
    saved = save("möd el.safetensors", model.tensors, model.vocab, data=model.config["data"])
    assert "ß" in saved.stoi
    assert "(" in run("eval", "--checkpoint", "möd el.safetensors", "--split", "test")


def test_statistics_are_computed_over_the_training_set(trained: Run) -> None:
    model = load(trained.path)
    some = words()
    import random

    random.seed(42)
    random.shuffle(some)
    Xtr, _ = contexts(some[: int(0.8 * len(some))], model.stoi)
    # In exercise 1, bnvar is the variance of a minibatch: alone it does not count.
    tensors = dict(model.tensors) | {"Xtr": np.array(Xtr), "bnmean": None}
    saved = save("mine.safetensors", tensors, words())
    for name in ("bnmean", "bnvar"):
        np.testing.assert_allclose(saved[name], model[name], rtol=1e-4, atol=1e-5)
    # Without any, nothing is guessed.
    del tensors["Xtr"]
    with pytest.raises(BadVariable, match=r"bnmean missing: mean and variance of hprebn.*or give Xtr"):
        save("none.safetensors", tensors, words())
    assert not Path("none.safetensors").exists()


def test_axes_of_length_1_and_float64_are_taken(trained: Run) -> None:
    model = load(trained.path)
    tensors = {name: tensor.astype("f8") for name, tensor in model.tensors.items()}
    tensors["b1"] = tensors["b1"].reshape(1, -1)
    tensors["bngain"] = tensors["bngain"].reshape(-1)
    saved = save("mine.safetensors", tensors, words())
    for name, tensor in saved.tensors.items():
        assert tensor.shape == SHAPES[name] and (tensor == model[name]).all()


def change(model: Model, **changes: Any) -> dict[str, Any]:
    return dict(model.tensors) | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"W2": None}, r"the tensor 'W2' is missing; wanted is an array of shape \(n_hidden, vocab\)"),
        ({"W2": np.zeros((27, 24), "f4")}, r"'W2' has the shape \[27, 24\], but \[24, 27\] is wanted"),
        ({"C": np.zeros((26, 10), "f4")}, "C has 26 rows, but the vocabulary has 27 characters"),
        ({"C": np.zeros((27, 7), "f4")}, r"'W1' has the shape \[30, 24\], but a multiple of the 7 columns"),
        ({"C": np.zeros(27, "f4")}, r"'C' has the shape \[27\], but \(vocab, n_embd\) is wanted"),
        (
            {"C": np.zeros((27, 1), "f4")},
            r"\[30, 24\] of W1 means that block_size is 30; it must be from 1 to 16",
        ),
        ({"b2": np.full(27, np.nan, "f4")}, r"b2\[0\] is nan, which is not a finite number in float32"),
        ({"b2": np.full(27, 1e300)}, r"b2\[0\] is 1e\+300, which is not a finite number"),
        ({"bnvar": np.full((1, 24), -1, "f4")}, r"bnvar has the value -1\.0; a variance is never negative"),
        ({"h": None, "b1": np.arange(24)}, r"'b1' holds int64 values; wanted is float32 or float64"),
        ({"C": print}, r"the variable 'C' is a function; wanted"),
        (
            {"bnmean": None, "Xtr": np.zeros((5, 2), int)},
            r"'Xtr' has the shape \[5, 2\], but \(examples, 3\)",
        ),
        ({"bnmean": None, "Xtr": np.zeros((5, 3))}, "Xtr holds float64 values; wanted are integers"),
        ({"bnmean": None, "Xtr": np.full((5, 3), 27)}, "Xtr has the token 27; tokens are 0 to 26"),
        ({"bnmean": None, "Xtr": np.full((5, 3), -1)}, "Xtr has the token -1; tokens are 0 to 26"),
    ],
)
def test_what_makes_no_model_is_named(trained: Run, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadVariable, match=message):
        save("mine.safetensors", change(load(trained.path), **changes), words())
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        (".aab", "the vocabulary has 'a' twice"),
        ({0: ".", 2: "a"}, "a character for each token from 0 on"),
        ({0: ".", 1: "ab"}, "made of single characters, and 'ab' is none"),
        (".a\n", r"the control character '\\n' cannot be"),
        (".a\ud800", "half a character"),
        (["a", 5], "the words must be texts, and one of them is 5"),
        ([".␃∎⏎a"], "all of .* are letters of the words"),
        (VOCAB, "what was the model trained on"),
        (["anna", "bob"], "what was the model trained on"),
    ],
)
def test_what_makes_no_vocabulary_is_told(trained: Run, vocab: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save("mine.safetensors", load(trained.path).tensors, vocab)
    assert list(Path().iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    trained: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = load(trained.path).tensors
    with pytest.raises(OSError, match="/proc/none"):
        save("/proc/none/mine.safetensors", tensors, words())
    save("mine.safetensors", tensors, words())
    before = Path("mine.safetensors").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("gpu_makemore._model.save_file", fail)
    with pytest.raises(OSError, match="the disk is full"):
        save("mine.safetensors", change(load(trained.path), b2=np.ones(27, "f4")), words())
    assert Path("mine.safetensors").read_bytes() == before
    assert [path.name for path in Path().iterdir()] == ["mine.safetensors"]
    assert Path("mine.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask()


def umask() -> int:
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"Umask:\s*(\d+)", text)[1], 8)  # type: ignore[index]


def test_the_ranges_are_the_programs() -> None:
    text = " ".join(run("train", "--help").split())
    for size in ("block_size", "n_embd", "n_hidden"):
        option = f"--{size.replace('_', '-')} <N>"
        least, most = re.search(rf"{option} [^\[]*\[(\d+) to (\d+)\]", text).groups()  # type: ignore[union-attr]
        assert RANGES[size] == (int(least), int(most))
