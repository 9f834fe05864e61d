#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""caat-ablate on a small model: figures against programs compiled with the plan, sites that are insensitive and sensitive
by construction, a run that was interrupted, and input that does not fit.

    ablation.py
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import programs

LENGTH, WINDOWS, VOCABULARY = 16, 3, 336
OPTIONS = [f"--length={LENGTH}", f"--samples={WINDOWS}", f"--fit-samples={WINDOWS}", f"--test-samples={WINDOWS}",
           f"--step-tokens={LENGTH}", "--quiet"]
BUDGET = "--budget=ppl:1.0001"
failures = []


def check(name: str, holds: bool, detail: str = ""):
    if not holds:
        failures.append(name)
        print(f"{name}: failed {detail}", flush=True)


def write_model(folder: Path) -> Path:
    """A Llama whose second MLP gives nothing, and whose first attention outweighs everything else."""
    model = onnx.load(programs.MODELS / "llama-gqa-genai" / "model.onnx")
    for weight in model.graph.initializer:
        factor = {"model.layers.1.mlp.down_proj.MatMul.weight": 0.0,
                  "model.layers.0.attn.o_proj.MatMul.weight": 8.0}.get(weight.name)
        if factor is not None:
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(factor), weight.name))
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def ablate(model: Path, tokens: Path, out: Path, *options) -> dict:
    programs.must("caat-ablate", model, "--tp=2", f"--tokens={tokens}", "-o", out, *OPTIONS, *options)
    return json.loads((out / "report.json").read_text())


def score(program: Path, tokens: Path, *options) -> float:
    return json.loads(programs.must("caat-run", "score", program, f"--tokens={tokens}", f"--length={LENGTH}", "-q",
                                    *options))["nll"]


def check_figures(model: Path, text: np.ndarray, report: dict, out: Path, folder: Path):
    """Runs that share prefixes against whole runs, and against programs compiled for the plan."""
    searched, tested = folder / "searched.npy", folder / "tested.npy"
    np.save(searched, text[WINDOWS * LENGTH:2 * WINDOWS * LENGTH])
    np.save(tested, text[:WINDOWS * LENGTH])
    exact = score(out / "program", searched)
    dropped = {s["site"]: s for s in report["sensitivity"] if s["choice"] == "drop"}
    check("sites that can be dropped", set(dropped) == {"layers.0.attn", "layers.0.mlp", "layers.1.attn"},
          str(sorted(dropped)))
    for site, figures in dropped.items():
        plan = {"version": 1, "tp": 2, "sites": {site: {"sync": "drop"}}}
        program = programs.compile_model(model, folder / site, 2, plan)
        compiled = score(program, searched) - exact
        switched = score(out / "program", searched, f"--plan={program.with_suffix('.plan.json')}") - exact
        check(f"{site} compiled", abs(compiled - figures["added"]) < 1e-5, f"{compiled} against {figures['added']}")
        check(f"{site} at run time", abs(switched - figures["added"]) < 1e-9, f"{switched} against {figures['added']}")
    # The chosen plan, from its files, on the text that it was tested on.
    chosen = next(plan for plan in report["plans"] if plan["chosen"])
    programs.must("caat-compile", model, "--tp=2", f"--plan={out / 'plan.json'}", "-o", folder / "chosen")
    got = np.exp(score(folder / "chosen", tested))
    check("chosen plan", abs(got / chosen["perplexity"] - 1) < 1e-5, f"{got} against {chosen['perplexity']}")
    check("exact plan", abs(np.exp(score(out / "program", tested)) / report["exact"]["perplexity"] - 1) < 1e-9)


def check_construction(report: dict):
    loss = {s["site"]: s["kl"] for s in report["sensitivity"] if s["choice"] == "drop"}
    check("the heavy attention is the most sensitive", max(loss, key=loss.get) == "layers.0.attn", str(loss))
    check("sites that matter cost something", min(loss["layers.0.attn"], loss["layers.0.mlp"]) > 1e-7, str(loss))
    # Nothing that counts reads the stream between the last attention and the sum behind the MLP.
    check("a site without effect is found", loss["layers.1.attn"] < 1e-9, str(loss))
    chosen = next(plan for plan in report["plans"] if plan["chosen"])
    check("and given up", "layers.1.attn drop" in chosen["words"], chosen["words"])
    last = next(site for site in report["sites"] if site["name"] == "layers.1.mlp")
    check("the last site has nothing to gain", not last["deferrable"] and "nothing to gain" in last["reason"])


def check_recipes(model: Path, tokens: Path, text: np.ndarray, folder: Path):
    """Plans that are written down, with estimates of small rank: fitted, measured, and the same in compiled programs."""
    recipes, out = folder / "recipes.json", folder / "recipes"
    tested = folder / "tested.npy"
    guess = {"layers.0.*": "drop rank 8 of both", "layers.1.attn": "defer 0.25 gain rank 4 of input"}
    plans = [{"label": "drop", "sites": {"layers.0.*": "drop", "layers.1.attn": "drop"}}, {"label": "guess", "sites": guess},
             {"label": "8 bits", "sites": {"*": "8 bits, plain"}}, {"label": "few", "sites": {"layers.0.attn": "defer 0.5 4 bits affine"}}]
    recipes.write_text(json.dumps({"plans": plans}))
    # Fitted on what is tested, where more of the loss must go.
    same = np.concatenate([text[:WINDOWS * LENGTH]] * 3)
    np.save(folder / "same.npy", same)
    report = ablate(model, folder / "same.npy", out, f"--recipes={recipes}")
    by_label = {plan["label"]: plan for plan in report["plans"]}
    check("recipes", list(by_label) == ["drop", "guess", "8 bits", "few"])
    check("estimates help", by_label["guess"]["kl"] < 0.5 * by_label["drop"]["kl"], str(by_label))
    for plan in report["plans"]:
        file = out / f"{plan['id']}.json"
        # Who owns which rows of a rounded sum, and keeps its error, depends on how many windows run together.
        switched = np.exp(score(out / "program", tested, f"--plan={file}", f"--batch={WINDOWS}"))
        check(f"{plan['label']} at run time", abs(switched / plan["perplexity"] - 1) < 1e-9, f"{switched} {plan}")
    programs.must("caat-compile", model, "--tp=2", f"--plan={out / 'recipe-2.json'}", "-o", folder / "guess")
    compiled = np.exp(score(folder / "guess", tested))
    check("estimates compiled", abs(compiled / by_label["guess"]["perplexity"] - 1) < 1e-5, f"{compiled}")


def check_resume(model: Path, tokens: Path, out: Path, report: dict):
    """A run that was stopped in the middle of a line goes on, to the same figures bit by bit."""
    results = out / "measurements.jsonl"
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:len(lines) // 2]) + lines[len(lines) // 2][:40])
    again = ablate(model, tokens, out, BUDGET)
    check("resumed figures", again["sensitivity"] == report["sensitivity"] and again["orders"] == report["orders"])
    check("resumed lines", len(results.read_text().splitlines()) >= len(lines))
    before = results.read_bytes()
    ablate(model, tokens, out, BUDGET)
    check("a finished run measures nothing again", results.read_bytes() == before)


def check_refusals(model: Path, text: np.ndarray, tokens: Path, out: Path, folder: Path):
    def refused(name: str, code: int, needle: str, *arguments):
        done = programs.run("caat-ablate", *arguments, *OPTIONS)
        check(name, done.returncode == code and needle in done.stderr, f"exit {done.returncode}: {done.stderr[-300:]}")

    def fresh(number: int) -> list:
        return ["--tp=2", "-o", folder / f"refused-{number}"]

    short, foreign, shape = folder / "short.npy", folder / "foreign.npy", folder / "shape.npy"
    np.save(short, text[:WINDOWS * LENGTH])
    np.save(foreign, np.where(np.arange(len(text)) == 40, VOCABULARY, text))
    np.save(shape, text.reshape(1, -1))
    refused("too few tokens", 1, "too few tokens", model, f"--tokens={short}", *fresh(1))
    refused("tokens of another vocabulary", 1, f"token {VOCABULARY}", model, f"--tokens={foreign}", *fresh(2))
    refused("tokens of another shape", 1, "tokens must be an i64 array [n]", model, f"--tokens={shape}", *fresh(3))
    refused("no model", 1, "there is no such file", folder / "none.onnx", f"--tokens={tokens}", *fresh(4))
    refused("budget", 2, "expected ppl:RATIO", model, f"--tokens={tokens}", "--budget=ppl:0.5", *fresh(5))
    refused("link", 2, "--link=fast", model, f"--tokens={tokens}", "--link=fast", *fresh(6))
    refused("choice", 2, "expected for example", model, f"--tokens={tokens}", "--choice=drop it", *fresh(7))
    refused("folder of another text", 1, "holds results for", model, f"--tokens={folder / 'searched-text.npy'}", "--tp=2",
            "-o", out)


def main():
    text = np.random.default_rng(3).integers(0, VOCABULARY, 3 * WINDOWS * LENGTH + 5)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tokens = folder / "tokens.npy"
        np.save(tokens, text)
        np.save(folder / "searched-text.npy", text[::-1])
        try:
            model, out = write_model(folder / "model"), folder / "out"
            report = ablate(model, tokens, out, BUDGET)
            check_figures(model, text, report, out, folder)
            check_construction(report)
            check_recipes(model, tokens, text, folder)
            check_resume(model, tokens, out, report)
            check_refusals(model, text, tokens, out, folder)
        except programs.Failed as failure:
            check("tools", False, str(failure))
    print("caat-ablate: " + (f"{len(failures)} checks failed" if failures else "all checks passed"))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
