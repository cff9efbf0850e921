"""Models as files: those of the program, and those of a notebook."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ._errors import BadModel, BadVariable
from ._tensors import PARAMETERS, Array, array

Floats = npt.NDArray[np.float32]

#: The key of the metadata under which the program keeps how a model was made.
_KEY = "gpu-makemore"
_FORMAT = 1

#: Batch norm's statistics over the training set.
STATISTICS: dict[str, str] = {"bnmean": "(1, n_hidden)", "bnvar": "(1, n_hidden)"}

#: The sizes that the program computes with.
RANGES: dict[str, tuple[int, int]] = {
    "vocab_size": (2, 65_535),
    "block_size": (1, 16),
    "n_embd": (1, 128),
    "n_hidden": (1, 2048),
}

#: The built-in names, in the order of their letters: SHA-256 of the lines.
_NAMES = "a9709ebc7a567f82800674afbc0e06c5f37b266b339e78de606f7a8023d4b118"

#: What shows the end mark: the first of these that is no letter, as in the program.
_END_MARKS = ".␃∎⏎"

#: Examples whose activations are computed at once.
_AT_ONCE = 8192


@dataclass(frozen=True)
class Model:
    """A model from a file."""

    #: The file.
    path: Path
    #: The lecture's tensors under their names: ``C`` ``(vocab, n_embd)``, ``W1``
    #: ``(block_size * n_embd, n_hidden)``, ``b1`` ``(n_hidden)``, ``W2`` ``(n_hidden, vocab)``, ``b2``
    #: ``(vocab)``, and ``bngain``, ``bnbias``, ``bnmean`` and ``bnvar``, all ``(1, n_hidden)``; float32.
    tensors: dict[str, Floats] = field(hash=False)
    #: The characters in the order of their tokens. The first shows the end mark: it is ``.`` unless that is a
    #: letter.
    vocab: str
    #: Characters of context.
    block_size: int
    #: Length of an embedding.
    n_embd: int
    #: Units of the hidden layer.
    n_hidden: int
    #: How it was made: the fields of docs/run.md.
    config: dict[str, Any] = field(hash=False)

    @property
    def vocab_size(self) -> int:
        """How many characters there are, the end mark among them."""
        return len(self.vocab)

    @property
    def itos(self) -> dict[int, str]:
        """The character of each token, as in the lecture."""
        return dict(enumerate(self.vocab))

    @property
    def stoi(self) -> dict[str, int]:
        """The token of each character, as in the lecture."""
        return {character: token for token, character in enumerate(self.vocab)}

    def __getitem__(self, name: str) -> Floats:
        """A tensor by its name."""
        return self.tensors[name]

    def __repr__(self) -> str:
        return (
            f"<Model {self.path}: vocab_size {self.vocab_size}, block_size {self.block_size}, "
            f"n_embd {self.n_embd}, n_hidden {self.n_hidden}>"
        )


def load(path: str | os.PathLike[str]) -> Model:
    """Reads a model that the program or :func:`save` has written.

    Args:
        path: the file, or the folder of a run: then its ``model.safetensors``.

    Raises:
        BadModel: the file is no such model, or is damaged.
        FileNotFoundError: there is no such file; and any other OSError.
    """
    file = Path(path)
    if file.is_dir():
        last = file / "last.safetensors"
        file = file / "model.safetensors"
        if not file.exists() and last.exists():
            raise BadModel(
                path, f"the run is not finished; gpu_makemore.load({str(last)!r}) reads its last checkpoint"
            )
    tensors, text = _read(file)
    try:
        config = json.loads(text)
        if config["format"] != _FORMAT:
            raise BadModel(file, f"it has the format {config['format']}; use the version that wrote it")
        if _digest(text, config["sha256"], tensors) != config["sha256"]:
            raise BadModel(file, "its checksum is not that of its content: it is damaged or was changed")
        return Model(
            path=file,
            tensors={name: tensors[name] for name in PARAMETERS | STATISTICS},
            vocab="".join(config["vocab"]),
            block_size=config["block_size"],
            n_embd=config["n_embd"],
            n_hidden=config["n_hidden"],
            config={key: value for key, value in config.items() if key not in ("vocab", "sha256")},
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadModel):
            raise
        raise BadModel(file, f"its metadata cannot be read: {error!r}") from error


def _read(file: Path) -> tuple[dict[str, Any], str]:
    """The tensors of a file, and what the program says of it."""
    if not file.is_file():
        # The words of the operating system for whatever is wrong, such as a folder in the way.
        file.open("rb").close()
    try:
        with safe_open(file, framework="numpy") as opened:
            text: str | None = (opened.metadata() or {}).get(_KEY)
            if text is None:
                raise BadModel(
                    file,
                    "it was written by another program, so it has no vocabulary; gpu_makemore.save writes one "
                    "that has, from tensors and words",
                )
            return {name: opened.get_tensor(name) for name in opened.keys()}, text
    except SafetensorError as error:
        raise BadModel(file, f"it is not a safetensors file, or it is damaged: {error}") from error


def _digest(text: str, sha256: str, tensors: Mapping[str, Array]) -> str:
    """The checksum of a model, as src/checkpoint/mod.rs tells it."""
    digest = hashlib.sha256(text.replace(sha256, "0" * 64).encode())
    more = [name for name in ("generator", "losses") if name in tensors]  # of a run that is not finished
    for name in [*PARAMETERS, *STATISTICS, *more]:
        values = tensors[name]
        digest.update(f"{name} {list(values.shape)}\n".encode())
        digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, object],
    words_or_vocab: Iterable[str] | Mapping[int, str],
    *,
    data: str | os.PathLike[str] | None = None,
    steps: int = 0,
) -> Model:
    """Writes a model that every command of the program takes: ``save("model.safetensors", globals(), words)``.

    Args:
        path: the file to write. One that is there is replaced.
        tensors: names and tensors of PyTorch, or arrays of NumPy or JAX, on any device: the seven parameters
            ``C``, ``W1``, ``b1``, ``W2``, ``b2``, ``bngain`` and ``bnbias``, and the statistics ``bnmean`` and
            ``bnvar`` over the training set. In place of these two there may be the training set's contexts,
            ``Xtr`` ``(examples, block_size)``, over which they are computed. Shapes are those of :class:`Model`;
            axes of length 1 do not count. Other names are not looked at.
        words_or_vocab: the words, from which the vocabulary is made as in the lecture; or the vocabulary, as a
            text (``model.vocab``) or as the lecture's ``itos``.
        data: the words that the model was trained on, as ``--data`` takes them: ``names``, ``municipalities`` or
            a file. It may be left out if `words_or_vocab` are the words of the lecture.
        steps: how many steps the model was trained.

    Returns:
        The model as it was written.

    Raises:
        BadVariable: a tensor is missing, has a wrong shape, or holds values that are not finite.
        ValueError: the vocabulary is none, or nothing says what the model was trained on.
        OSError: the file cannot be written.
    """
    vocab, words = _vocabulary(words_or_vocab)
    if data is None and words is not None and _is_lecture(words):
        data = "names"
    if data is None:
        raise ValueError(
            "what was the model trained on? data='names', data='municipalities' or data='FILE' says it, as --data does"
        )
    found = {name: _floats(tensors, name, wanted) for name, wanted in PARAMETERS.items()}
    sizes = _sizes(found, len(vocab))
    shapes = _shapes(sizes)
    model = {name: _shaped(name, values, shapes[name]) for name, values in found.items()}
    model |= _statistics(tensors, model, sizes)
    config: dict[str, Any] = {
        "format": _FORMAT,
        "sha256": "0" * 64,
        "vocab": list(vocab),
        "block_size": sizes["block_size"],
        "batch_size": 32,
        "n_embd": sizes["n_embd"],
        "n_hidden": sizes["n_hidden"],
        "steps": steps,
        "lr": 0.1,
        "lr_final": 0.01,
        "lr_decay_at": 100_000,
        "seed": 2_147_483_647,
        "data": os.fspath(data),
        "column": None,
        "clean": False,
        "backend": "python",
        "version": "gpu_makemore.save",
    }
    config["sha256"] = _digest(_json(config), config["sha256"], model)
    _write(Path(path), model, _json(config))
    return load(path)


def _json(config: Mapping[str, Any]) -> str:
    return json.dumps(config, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _write(path: Path, tensors: dict[str, Floats], text: str) -> None:
    """Writes a file that appears whole or not at all."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(dict(tensors), beside, metadata={_KEY: text})
        # A temporary file is for its owner alone; this one is to be like any other.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(beside, 0o666 & ~umask)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def _vocabulary(given: Iterable[str] | Mapping[int, str]) -> tuple[str, list[str] | None]:
    """The characters in the order of their tokens, and the words, if they were made of words."""
    words: list[str] | None = None
    if isinstance(given, str):
        characters = list(given)
    elif isinstance(given, Mapping):
        if sorted(given) != list(range(len(given))):
            raise ValueError(
                "the vocabulary must have a character for each token from 0 on, as the lecture's itos"
            )
        characters = [given[token] for token in range(len(given))]
    else:
        words = list(given)
        other = next((word for word in words if not isinstance(word, str)), None)
        if other is not None:
            raise ValueError(f"the words must be texts, and one of them is {other!r}")
        letters = sorted(set("".join(words)))
        end = next((mark for mark in _END_MARKS if mark not in letters), None)
        if end is None:
            raise ValueError(
                f"all of {_END_MARKS} are letters of the words; give the vocabulary, its end mark first"
            )
        characters = [end, *letters]
    for character in characters:
        if not isinstance(character, str) or len(character) != 1:
            raise ValueError(f"the vocabulary must be made of single characters, and {character!r} is none")
        if character != "\t" and (ord(character) < 32 or 127 <= ord(character) < 160):
            raise ValueError(f"the control character {character!r} cannot be in a vocabulary")
        if 0xD800 <= ord(character) < 0xE000:
            raise ValueError(f"{character!r} is half a character and cannot be in a vocabulary")
    twice = next((character for at, character in enumerate(characters) if character in characters[:at]), None)
    if twice is not None:
        raise ValueError(f"the vocabulary has {twice!r} twice")
    return "".join(characters), words


def _is_lecture(words: list[str]) -> bool:
    """Whether these are the built-in names, in any order: the lecture shuffles them."""
    return hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest() == _NAMES


def _floats(tensors: Mapping[str, object], name: str, wanted: str) -> Floats:
    """A tensor as the program keeps it."""
    value = tensors.get(name)
    if value is None:
        raise BadVariable(name, f"the tensor {name!r} is missing; wanted is an array of shape {wanted}")
    values = array(name, value, wanted)
    if values.dtype.kind != "f":
        raise BadVariable(
            name, f"the tensor {name!r} holds {values.dtype.name} values; wanted is float32 or float64"
        )
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        rounded = values.astype(np.float32)
    if not np.isfinite(rounded).all():
        place = [int(at) for at in np.argwhere(~np.isfinite(rounded))[0]]
        bad = values[tuple(place)]
        raise BadVariable(name, f"{name}{place} is {bad}, which is not a finite number in float32")
    return rounded


def _sizes(found: Mapping[str, Floats], vocab: int) -> dict[str, int]:
    """The sizes, from the shapes of C and W1."""
    for name in ("C", "W1"):
        if found[name].ndim != 2:
            raise _shape_error(name, found[name].shape, PARAMETERS[name])
    rows, n_embd = found["C"].shape
    fan_in, n_hidden = found["W1"].shape
    if rows != vocab:
        raise BadVariable(
            "C", f"C has {rows} rows, but the vocabulary has {vocab} characters, the end mark among them"
        )
    if n_embd == 0 or fan_in % n_embd != 0:
        wanted = f"a multiple of the {n_embd} columns of C for its rows"
        raise _shape_error("W1", found["W1"].shape, wanted)
    sizes = {"vocab_size": vocab, "block_size": fan_in // n_embd, "n_embd": n_embd, "n_hidden": n_hidden}
    for size, (least, most) in RANGES.items():
        if not least <= sizes[size] <= most:
            name = "C" if size in ("vocab_size", "n_embd") else "W1"
            shape = list(found[name].shape)
            line = f"the shape {shape} of {name} means that {size} is {sizes[size]}; it must be from {least} to {most}"
            raise BadVariable(name, line)
    return sizes


def _shapes(sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    vocab, embd, hidden = sizes["vocab_size"], sizes["n_embd"], sizes["n_hidden"]
    unit = (1, hidden)
    return {
        "C": (vocab, embd),
        "W1": (sizes["block_size"] * embd, hidden),
        "b1": (hidden,),
        "W2": (hidden, vocab),
        "b2": (vocab,),
        "bngain": unit,
        "bnbias": unit,
        "bnmean": unit,
        "bnvar": unit,
    }


def _shaped(name: str, values: Floats, shape: tuple[int, ...]) -> Floats:
    """The values in the lecture's shape; axes of length 1 do not count."""
    if [n for n in values.shape if n != 1] != [n for n in shape if n != 1]:
        raise _shape_error(name, values.shape, str(list(shape)))
    return values.reshape(shape)


def _shape_error(name: str, found: tuple[int, ...], wanted: str) -> BadVariable:
    return BadVariable(name, f"the tensor {name!r} has the shape {list(found)}, but {wanted} is wanted")


def _statistics(
    tensors: Mapping[str, object], model: Mapping[str, Floats], sizes: Mapping[str, int]
) -> dict[str, Floats]:
    """`bnmean` and `bnvar`: those given, or those over `Xtr`."""
    missing = [name for name in STATISTICS if tensors.get(name) is None]
    if missing:
        # One alone says nothing: in exercise 1, `bnvar` is the variance of a minibatch.
        if tensors.get("Xtr") is not None:
            return _over_training_set(tensors["Xtr"], model, sizes)
        raise BadVariable(
            missing[0],
            f"{' and '.join(missing)} missing: mean and variance of hprebn over the training set, both (1, n_hidden), "
            "as at the end of the lecture's exercise 4; or give Xtr, (examples, block_size), to have them computed",
        )
    shape = (1, sizes["n_hidden"])
    statistics = {
        name: _shaped(name, _floats(tensors, name, wanted), shape) for name, wanted in STATISTICS.items()
    }
    if (statistics["bnvar"] < 0).any():
        raise BadVariable(
            "bnvar", f"bnvar has the value {statistics['bnvar'].min()}; a variance is never negative"
        )
    return statistics


def _over_training_set(
    value: object, model: Mapping[str, Floats], sizes: Mapping[str, int]
) -> dict[str, Floats]:
    """Mean and variance of `hprebn` over all contexts, in float64."""
    wanted = "(examples, block_size)"
    contexts = array("Xtr", value, wanted)
    if contexts.ndim != 2 or contexts.shape[1] != sizes["block_size"] or len(contexts) < 2:
        raise _shape_error("Xtr", contexts.shape, f"(examples, {sizes['block_size']})")
    if contexts.dtype.kind not in "iu":
        raise BadVariable("Xtr", f"Xtr holds {contexts.dtype.name} values; wanted are integers")
    if contexts.min() < 0 or contexts.max() >= sizes["vocab_size"]:
        bad = contexts.min() if contexts.min() < 0 else contexts.max()
        raise BadVariable("Xtr", f"Xtr has the token {bad}; tokens are 0 to {sizes['vocab_size'] - 1}")
    C, W1, b1 = (model[name].astype(np.float64) for name in ("C", "W1", "b1"))
    # Equal contexts have equal activations: of the lecture's 182,625, some 5,400 are distinct.
    distinct, counts = np.unique(contexts, axis=0, return_counts=True)
    weights = counts / counts.sum()

    def hprebn(at: int) -> npt.NDArray[np.float64]:
        some = distinct[at : at + _AT_ONCE]
        found: npt.NDArray[np.float64] = C[some].reshape(len(some), -1) @ W1 + b1
        return found

    starts = range(0, len(distinct), _AT_ONCE)
    mean = sum(weights[at : at + _AT_ONCE] @ hprebn(at) for at in starts)
    squares = sum(weights[at : at + _AT_ONCE] @ (hprebn(at) - mean) ** 2 for at in starts)
    examples = len(contexts)
    variance = squares * (examples / (examples - 1))
    found = {"bnmean": mean, "bnvar": variance}
    return {name: np.asarray(values, dtype=np.float32).reshape(1, -1) for name, values in found.items()}
