"""Tests the Python package with PyTorch and JAX themselves, and writes docs/frameworks.md.

    pip install torch jax numpy safetensors
    python3 docs/frameworks.py --program target/release/gpu-makemore

What a machine lacks, a CUDA device or one of the two, is named and left out. The exit code is 1 if a result is not as
expected.
"""

import argparse
import contextlib
import datetime
import importlib.util
import os
import pathlib
import platform
import sys
import tempfile
import time
import warnings

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "python/tests")]

import numpy as np
from lecture import notebook, words

import gpu_makemore

# A warning that PyTorch gives of a tensor's .grad would stand in every student's notebook.
warnings.simplefilter("error")
warnings.simplefilter("ignore", ResourceWarning)  # the lecture's own line leaves its file open

ALL, SIX = "45 of 45 tensors agree", "6 of 45 tensors are wrong; the first is dbndiff"
rows = []


def case(framework, what, expected, run):
    """Runs one case; its result, or its error, has to begin with `expected`."""
    start = time.perf_counter()
    try:
        result = str(run())
    except gpu_makemore.MakemoreError as error:
        result = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    good = result.startswith(expected)
    rows.append((framework, what, result if good else f"**{result}**, expected: {expected}", seconds, good))
    print(f"{'ok   ' if good else 'WRONG'} {framework}: {what}: {result}", file=sys.stderr)


def check(variables):
    return gpu_makemore.check(variables, show=False).summary


def without_gradients(variables):
    return {name: value for name, value in variables.items() if not name.startswith("d")}


def with_torch():
    import torch

    source = compile((ROOT / "tests/notebook.py").read_text(), "notebook.py", "exec")

    def run(how, dtype="float32", device="cpu"):
        """The variables of the lecture's own lines."""
        variables = {"__name__": "notebook"}
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        arguments, sys.argv = sys.argv, ["notebook.py", how]
        os.environ["ROOT"] = str(ROOT)
        try:
            exec(source, variables)
        finally:
            torch.set_default_dtype(before)
            sys.argv = arguments
        return variables

    def on(variables, change):
        return {name: change(v) if isinstance(v, torch.Tensor) else v for name, v in variables.items()}

    right = run("right")
    plain = without_gradients(right)
    case("PyTorch", "the lecture's notebook", ALL, lambda: check(right))
    case("PyTorch", "the second use of bndiff forgotten", SIX, lambda: check(run("forgetful")))
    case("PyTorch", "float64", ALL, lambda: check(run("right", "float64")))
    case("PyTorch", "tensors that require gradients", ALL, lambda: check(
        on(right, lambda t: t.clone().requires_grad_() if t.is_floating_point() else t)))
    case("PyTorch", "transposed in memory", ALL, lambda: check(
        on(right, lambda t: t.T.contiguous().T if t.ndim == 2 else t)))

    def autograd(retain):
        """The lecture's forward pass in autograd; all gradients, or those of the parameters."""
        v = dict(plain)
        params = ["C", "W1", "b1", "W2", "b2", "bngain", "bnbias"]
        for name in params:
            v[name] = plain[name].clone().requires_grad_()
        n = len(v["Yb"])
        v["emb"] = v["C"][v["Xb"]]
        v["embcat"] = v["emb"].view(n, -1)
        v["hprebn"] = v["embcat"] @ v["W1"] + v["b1"]
        v["bnmeani"] = 1 / n * v["hprebn"].sum(0, keepdim=True)
        v["bndiff"] = v["hprebn"] - v["bnmeani"]
        v["bndiff2"] = v["bndiff"] ** 2
        v["bnvar"] = 1 / (n - 1) * v["bndiff2"].sum(0, keepdim=True)
        v["bnvar_inv"] = (v["bnvar"] + 1e-5) ** -0.5
        v["bnraw"] = v["bndiff"] * v["bnvar_inv"]
        v["hpreact"] = v["bngain"] * v["bnraw"] + v["bnbias"]
        v["h"] = torch.tanh(v["hpreact"])
        v["logits"] = v["h"] @ v["W2"] + v["b2"]
        v["logit_maxes"] = v["logits"].max(1, keepdim=True).values
        v["norm_logits"] = v["logits"] - v["logit_maxes"]
        v["counts"] = v["norm_logits"].exp()
        v["counts_sum"] = v["counts"].sum(1, keepdim=True)
        v["counts_sum_inv"] = v["counts_sum"] ** -1
        v["probs"] = v["counts"] * v["counts_sum_inv"]
        v["logprobs"] = v["probs"].log()
        for name, value in v.items():
            if retain and isinstance(value, torch.Tensor) and value.grad_fn is not None:
                value.retain_grad()
        (-v["logprobs"][range(n), v["Yb"]].mean()).backward()
        return v

    case("PyTorch", ".grad of all 26 tensors", ALL, lambda: check(autograd(True)))
    case("PyTorch", ".grad of the parameters alone", "26 of 26 tensors agree", lambda: check(autograd(False)))
    own = autograd(True) | {"dlogits": right["dlogits"] * 2}
    case("PyTorch", "dlogits goes before .grad", "1 of 20 tensors is wrong; the first is dlogits", lambda: check(own))
    case("PyTorch", "a sparse gradient", ALL, lambda: check(right | {"dlogprobs": right["dlogprobs"].to_sparse()}))
    case("PyTorch", "bfloat16", "BadVariable: the variable 'h' of the type Tensor cannot be read: it holds bfloat16",
         lambda: check(right | {"h": right["h"].bfloat16()}))
    case("PyTorch", "float16", "ProgramFailed: cannot check the notebook: the tensor 'h' holds F16 values",
         lambda: check(right | {"h": right["h"].half()}))
    case("PyTorch", "a tensor without values (device meta)", "BadVariable: the variable 'h' of the type Tensor cannot",
         lambda: check(right | {"h": right["h"].to("meta")}))
    case("PyTorch", "nn.Module in place of a tensor", "BadVariable: the variable 'h' is of the type Tanh; wanted",
         lambda: check(right | {"h": torch.nn.Tanh()}))
    if torch.cuda.is_available():
        case("PyTorch", "on a CUDA device", ALL, lambda: check(on(right, lambda t: t.cuda())))
    else:
        rows.append(("PyTorch", "on a CUDA device", "left out: none is here", None, True))

    def saved():
        hidden = right["W1"].shape[1]
        statistics = {"bnmean": torch.zeros(hidden), "bnvar": torch.ones(hidden)}
        model = gpu_makemore.save("torch.safetensors", right | statistics, words())
        return all((torch.from_numpy(model[name]) == right[name]).all().item() for name in ("C", "W1", "b2"))

    case("PyTorch", "save and load", "True", saved)
    return f"PyTorch {torch.__version__}"


def with_jax():
    import jax
    import jax.numpy as jnp

    right = notebook(jnp)
    case("JAX", "the notebook", ALL, lambda: check(right))
    case("JAX", "the second use of bndiff forgotten", SIX, lambda: check(notebook(jnp, forgetful=True)))
    params = ("C", "W1", "b1", "W2", "b2", "bngain", "bnbias")

    def loss(p):
        n = len(right["Yb"])
        hprebn = p["C"][right["Xb"]].reshape(n, -1) @ p["W1"] + p["b1"]
        bnraw = (hprebn - hprebn.mean(0)) * (hprebn.var(0, ddof=1) + 1e-5) ** -0.5
        logits = jnp.tanh(p["bngain"] * bnraw + p["bnbias"]) @ p["W2"] + p["b2"]
        return -jax.nn.log_softmax(logits)[jnp.arange(n), right["Yb"]].mean()

    def by_grad():
        d = jax.grad(loss)({name: right[name] for name in params})
        return check(without_gradients(right) | {"d": d})

    case("JAX", "d = jax.grad(loss)(params)", "26 of 26 tensors agree", by_grad)
    case("JAX", "bfloat16", "BadVariable: the variable 'h' holds bfloat16 values, and float32 or float64 are read",
         lambda: check(right | {"h": right["h"].astype("bfloat16")}))

    @jax.jit
    def inside(h):
        check(right | {"h": h})
        return h

    case("JAX", "within jax.jit", "BadVariable: the variable 'h' of the type ", lambda: inside(right["h"]))
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else contextlib.nullcontext():
        case("JAX", "float64", ALL, lambda: check(notebook(jnp, "float64")))
    return f"JAX {jax.__version__}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/gpu-makemore")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/frameworks.md")
    args = parser.parse_args()
    out = args.out.resolve()
    os.environ["GPU_MAKEMORE_PROGRAM"] = str(args.program.resolve())
    versions = [f"Python {platform.python_version()}", f"NumPy {np.__version__}"]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for module, run in (("torch", with_torch), ("jax", with_jax)):
            if importlib.util.find_spec(module) is None:
                print(f"{module} is not installed, and left out", file=sys.stderr)
                continue
            versions.append(run())
    lines = [
        "# With PyTorch and JAX",
        "",
        "`python3 docs/frameworks.py` wrote this: `gpu_makemore.check` on tensors of the frameworks themselves. Warnings",
        "count as errors.",
        "",
        f"{datetime.date.today()}, {platform.system()} {platform.machine()}: {', '.join(versions)}.",
        "",
        "| framework | what is given | what comes of it | s |",
        "|---|---|---|--:|",
    ]
    for framework, what, result, seconds, _ in rows:
        time_taken = "" if seconds is None else f"{seconds:.2f}"
        lines.append(f"| {framework} | {what} | {result.replace('|', '/')} | {time_taken} |")
    out.write_text("\n".join(lines) + "\n", "utf-8")
    sys.exit(not all(good for *_, good in rows))


main()
