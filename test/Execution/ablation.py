#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""caat-ablate on a small model: figures against programs compiled with the plan, sites that are insensitive and sensitive
by construction, a run that was interrupted, and input that does not fit.

    ablation.py
"""
import json
import resource
import shlex
import subprocess
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
GOAL = [BUDGET, "--link=10MB/s,1ms"]  # where a site saves more time than a busy machine takes at random
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
    dropped = {s["site"]: s for s in report["sensitivity"] if s["choice"] == "drop" and "reason" not in s}
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
    loss = {s["site"]: s["kl"] for s in report["sensitivity"] if s["choice"] == "drop" and "reason" not in s}
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
             {"label": "8 bits", "sites": {"*": "8 bits, plain"}}, {"label": "kept", "sites": {"layers.0.*": "private 0.5 common"}}, {"label": "few", "sites": {"layers.0.attn": "defer 0.5 4 bits affine"}},
             {"label": "rate", "sites": {"layers.0.*": "rate 3 affine", "layers.1.attn": "rate 6"}},
             {"label": "shares", "sites": {"layers.0.*": "private 0.5 shares"}}]
    recipes.write_text(json.dumps({"plans": plans}))
    # Fitted on what is tested, where more of the loss must go.
    same = np.concatenate([text[:WINDOWS * LENGTH]] * 3)
    np.save(folder / "same.npy", same)
    report = ablate(model, folder / "same.npy", out, f"--recipes={recipes}", "--measure-link", "--link=1MB/s,20ms")
    by_label = {plan["label"]: plan for plan in report["plans"]}
    check("recipes", list(by_label) == ["drop", "guess", "8 bits", "kept", "few", "rate", "shares"])
    for plan in report["plans"]:
        quotient = plan["measured_link_seconds"] / plan["link_seconds"]
        check(f"{plan['label']} over a slow link", 0.95 < quotient < 1.5, str(plan))
    for file in shlex.split(report["commands"][1]):
        check("the command names a plan that is there", not file.startswith("--plan=") or Path(file[7:]).exists(), file)
    check("private channels are warned about", "private" in "".join(report["warnings"]), str(report["warnings"]))
    check("estimates help", by_label["guess"]["kl"] < 0.5 * by_label["drop"]["kl"], str(by_label))
    for plan in report["plans"]:
        file = out / f"{plan['id']}.json"
        # Who owns which rows of a rounded sum, and keeps its error, depends on how many windows run together.
        switched = np.exp(score(out / "program", tested, f"--plan={file}", f"--batch={WINDOWS}"))
        check(f"{plan['label']} at run time", abs(switched / plan["perplexity"] - 1) < 1e-9, f"{switched} {plan}")
    divided = json.loads((out / "recipe-6.json").read_text())["sites"]
    check("a rate is divided", divided["layers.0.attn"]["sync"] == "partial" and all(site["bits"] in (3, 4, 8) for site in divided.values()),
          str(divided))
    programs.must("caat-compile", model, "--tp=2", f"--plan={out / 'recipe-6.json'}", "-o", folder / "rate")
    compiled = np.exp(score(folder / "rate", tested, f"--batch={WINDOWS}"))
    check("a rate compiled", abs(compiled / by_label["rate"]["perplexity"] - 1) < 1e-3, f"{compiled} {by_label['rate']}")
    kept = json.loads((out / "recipe-4.json").read_text())["sites"]
    shares = json.loads((out / "recipe-7.json").read_text())["sites"]
    check("one order by shares", shares["layers.0.attn"]["order"][:12] == shares["layers.0.mlp"]["order"][:12] and
          shares["layers.0.attn"]["order"][:12] != kept["layers.0.attn"]["order"][:12], str(shares))
    check("one order for all", set(kept["layers.0.attn"]["order"][:12]) == set(kept["layers.0.mlp"]["order"][:12]), str(kept))
    programs.must("caat-compile", model, "--tp=2", f"--plan={out / 'recipe-2.json'}", "-o", folder / "guess")
    compiled = np.exp(score(folder / "guess", tested))
    check("estimates compiled", abs(compiled / by_label["guess"]["perplexity"] - 1) < 1e-5, f"{compiled}")


def check_heads(model: Path, tokens: Path, text: np.ndarray, exact: float, folder: Path):
    """Heads dealt out otherwise: the same function, and plans that carry the order to compiled programs."""
    recipes, out, tested = folder / "heads-recipes.json", folder / "grouped", folder / "tested.npy"
    recipes.write_text(json.dumps({"plans": [{"label": "drop", "sites": {"layers.*.attn": "drop affine"}}]}))
    report = ablate(model, tokens, out, "--group-heads", f"--recipes={recipes}")
    heads = json.loads((out / "heads.json").read_text())["heads"]
    check("heads are permuted", set(heads) == {"layers.0.attn", "layers.1.attn"} and
          all(sorted(order) == list(range(12)) for order in heads.values()) and
          any(order != sorted(order) for order in heads.values()), str(heads))
    check("the exact program stays the same", abs(report["exact"]["perplexity"] / exact - 1) < 1e-5, str(report["exact"]))
    check("the report tells", report["heads"] == heads, str(report.get("heads")))
    measured = report["plans"][0]["perplexity"]
    programs.must("caat-compile", model, "--tp=2", f"--plan={out / 'recipe-1.json'}", "-o", folder / "grouped-drop")
    compiled = np.exp(score(folder / "grouped-drop", tested))
    check("the plan has the heads", abs(compiled / measured - 1) < 1e-5, f"{compiled} {measured}")
    before = (out / "program" / "manifest.json").stat().st_mtime_ns
    again = ablate(model, tokens, out, "--group-heads", f"--recipes={recipes}")
    check("heads are grouped once", again["plans"][0]["perplexity"] == measured and
          (out / "program" / "manifest.json").stat().st_mtime_ns == before)


def check_formats(model: Path, tokens: Path, text: np.ndarray, folder: Path):
    """The program as it will be deployed: its own exact plan is the baseline, and its results are kept apart from others."""
    recipes, out, tested = folder / "formats-recipes.json", folder / "formats", folder / "tested.npy"
    recipes.write_text(json.dumps({"plans": [{"label": "drop", "sites": {"layers.1.attn": "drop", "layers.0.mlp": "drop affine"}}]}))
    flags = ["--weights=i4", "--weights=*lm_head*=i8", "--dtype=bf16"]
    words = "--weights=i4 '--weights=*lm_head*=i8' --dtype=bf16"
    output = programs.must("caat-ablate", model, "--tp=2", f"--tokens={tokens}", "-o", out, f"--recipes={recipes}", *OPTIONS, *flags)
    report = json.loads((out / "report.json").read_text())
    check("the program is named", report["model"]["compiled_with"] == words and words in output and
          words in report["commands"][1] and "compiled with --weights=i4" in (out / "report.html").read_text(), str(report["model"]))
    exact, plan = report["exact"]["perplexity"], report["plans"][0]
    program = programs.compile_model(model, folder / "formats-exact", 2, flags=flags)
    got = np.exp(score(program, tested, f"--batch={WINDOWS}"))
    check("the exact plan is that program's", abs(got / exact - 1) < 1e-5, f"{got} against {exact}")
    plain = np.exp(score(programs.compile_model(model, folder / "formats-plain", 2), tested, f"--batch={WINDOWS}"))
    check("which is another than without", abs(plain / exact - 1) > 1e-5, f"{plain} against {exact}")
    program = folder / "formats-plan"
    programs.must("caat-compile", model, "--tp=2", *flags, f"--plan={out / 'recipe-1.json'}", "-o", program)
    got = np.exp(score(program, tested, f"--batch={WINDOWS}"))
    check("a plan of that program", abs(got / plan["perplexity"] - 1) < 1e-4, f"{got} against {plan['perplexity']}")
    # Schedule and weights of a program with other caches are the same.
    for other in [flags + ["--cache=f32"], flags[:2], []]:
        done = programs.run("caat-ablate", model, "--tp=2", f"--tokens={tokens}", "-o", out, f"--recipes={recipes}", *OPTIONS, *other)
        check("results of another program", done.returncode == 1 and f"holds results for {model} {words}, this run is for {model}" in done.stderr,
              f"exit {done.returncode}: {done.stderr[-300:]}")
    (out / "program.txt").unlink()
    done = programs.run("caat-ablate", model, "--tp=2", f"--tokens={tokens}", "-o", out, f"--recipes={recipes}", *OPTIONS, *flags, "--cache=f32")
    check("nor where the program is gone", done.returncode == 1 and f"holds results for {words}, program" in done.stderr, done.stderr[-300:])


def check_halves(model: Path, text: np.ndarray, folder: Path):
    """A step that may be divided is reckoned in halves too, beside which dropping sums saves less; a short one is not."""
    recipes, tokens = folder / "halves-recipes.json", folder / "halves.npy"
    recipes.write_text(json.dumps({"plans": [{"label": "drop", "sites": {"layers.0.*": "drop"}}]}))
    np.save(tokens, np.tile(text, 3))
    for steps, divided in (272, True), (240, False):
        out = folder / f"halves-{steps}"
        programs.must("caat-ablate", model, "--tp=2", f"--tokens={tokens}", "-o", out, f"--recipes={recipes}", f"--step-tokens={steps}",
                      "--link=100MB/s", *(o for o in OPTIONS if "step" not in o))
        report = json.loads((out / "report.json").read_text())
        step, figures = report["workload"]["tokens"], [report["exact"], report["plans"][0]]
        check("tokens of the step", step == steps, f"{step} instead of {steps}")
        check("in halves", all(("halved_seconds" in f) == divided for f in figures) and
              all(("exact_halved_seconds" in link) == divided for link in report["links"]), str(report["links"]))
        check("in the page", ("in halves" in (out / "report.html").read_text()) == divided)
        if divided:
            check("the head is a part", 0 < report["workload"]["head_seconds"] < report["workload"]["compute_seconds"], str(report["workload"]))
            for link in report["links"]: # whatever the machine's speed: at most a message more for each site than the whole
                most = link["exact_seconds"] + len(report["sites"]) * link["latency"]
                check("between the compute and all in turn", report["workload"]["compute_seconds"] <= link["exact_halved_seconds"] <= most + 1e-9,
                      f"{report['workload']} {link}")


def check_encoder(folder: Path):
    """A sentence encoder: no logits, and sites that cannot defer."""
    model, inputs, out = programs.MODELS / "sentence-d18" / "model.onnx", folder / "sentences.npz", folder / "encoder"
    random = np.random.default_rng(5)
    names = [i.name for i in onnx.load(model, load_external_data=False).graph.input]
    mask = np.ones((36, 9), np.int64)
    mask[::3, 6:] = 0
    arrays = {name: mask if "mask" in name else random.integers(0, 2 if "type" in name else 50, mask.shape) for name in names}
    np.savez(inputs, **arrays)
    size = [f"--{kind}samples=12" for kind in ("", "fit-", "test-")]
    programs.must("caat-ablate", model, "--tp=2", f"--inputs={inputs}", "-o", out, "--budget=cos:0.999", "--link=1MB/s",
                  "--batch=5", *size, "-q")
    report = json.loads((out / "report.json").read_text())
    check("the encoder's loss is told", "cosine" in report["loss"] and "perplexity" not in report["exact"])
    check("only the last site could defer", all(not site["deferrable"] for site in report["sites"]) and
          sum("normalised before" in site["reason"] for site in report["sites"]) == len(report["sites"]) - 1, str(report["sites"]))
    choices = {s["choice"] for s in report["sensitivity"] if "reason" not in s}
    check("what it cannot do is told", any(s["choice"] == "drop" and "normalised before" in s.get("reason", "")
                                           for s in report["sensitivity"]))
    check("what the encoder can do", choices and all("plain" in choice for choice in choices), str(choices))
    # The chosen plan against whole runs.
    chosen = next(plan for plan in report["plans"] if plan["chosen"])
    check("the encoder's budget", chosen["added"] < 2e-3 and chosen["bytes_share"] < 0.7, str(chosen))
    outputs = []
    for options in [[]], [[f"--plan={out / 'plan.json'}"]]:
        rows = []
        for first in range(0, 12, 5):
            np.savez(folder / "rows.npz", **{name: array[first:min(first + 5, 12)] for name, array in arrays.items()})
            programs.must("caat-run", "infer", out / "program", f"--inputs={folder / 'rows.npz'}", "-o", folder / "out.npz", *options[0])
            result = np.load(folder / "out.npz")
            name = report_output(model)
            marks = arrays[next(n for n in names if "attention_mask" in n)][first:first + 5][:len(result[name]), :, None]
            rows.append((result[name] * marks).sum(1) if result[name].ndim == 3 else result[name])
        outputs.append(np.concatenate(rows))
    cosines = (outputs[0] * outputs[1]).sum(1) / np.linalg.norm(outputs[0], axis=1) / np.linalg.norm(outputs[1], axis=1)
    check("the encoder's figures", abs(1 - cosines.mean() - chosen["added"]) < 1e-6, f"{1 - cosines.mean()} {chosen['added']}")
    done = programs.run("caat-ablate", model, "--tp=2", f"--inputs={inputs}", "-o", folder / "many", "--samples=30", "-q")
    check("too few rows", done.returncode == 1 and "too few inputs" in done.stderr, done.stderr)


def report_output(model: Path) -> str:
    return onnx.load(model, load_external_data=False).graph.output[0].name


def check_at_work(model: Path, tokens: Path, report: dict, folder: Path):
    """Continuations, and time over a link beside the model's."""
    sample = report["samples"][0]
    prompt = np.load(tokens)[:LENGTH // 2].astype(np.int64)
    np.save(folder / "prompt.npy", prompt)
    programs.must("caat-run", "generate", folder / "out" / "program", f"--tokens={folder / 'prompt.npy'}", "--max-new-tokens=8",
                  "-o", folder / "new.npy")
    new = np.load(folder / "new.npy").reshape(-1)[len(prompt):][:8]
    check("continuations", sample["prompt"].split() == [str(t) for t in prompt] and
          sample["exact"].split()[:len(new)] == [str(t) for t in new], f"{sample} {new}")
    # Messages take so long that a busy machine shows little beside them; a wrong way of summing would show twice the time.
    for speed in "1MB/s,20ms", "200KB/s": # sites dropped, and few bits
        slow = ablate(model, tokens, folder / "out", BUDGET, "--measure-link", f"--link={speed}")
        timed = next(link for link in slow["links"] if "f32" in link["name"])
        for kind in "exact", "chosen":
            quotient = timed[f"measured_{kind}_seconds"] / timed[f"{kind}_seconds"]
            check(f"{kind} time over {speed}", 0.95 < quotient < 1.5, str(timed))
    check("what is dropped takes no time", timed["measured_chosen_seconds"] < 0.9 * timed["measured_exact_seconds"], str(timed))


def check_full_disk(model: Path, tokens: Path, out: Path, report: dict):
    """A file that may not grow stands for a full disk: a message, and what was measured is used again."""
    results = out / "measurements.jsonl"
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:len(lines) // 2]))
    limit = results.stat().st_size + 1500
    command = [programs.BIN / "caat-ablate", model, "--tp=2", f"--tokens={tokens}", "-o", out, *OPTIONS, *GOAL]
    done = subprocess.run(command, capture_output=True, text=True, restore_signals=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    check("full disk", done.returncode == 1 and "is the disk full?" in done.stderr, f"exit {done.returncode}: {done.stderr}")
    again = ablate(model, tokens, out, *GOAL)
    check("nothing is lost", again["sensitivity"] == report["sensitivity"] and again["orders"] == report["orders"])


def check_resume(model: Path, tokens: Path, out: Path, report: dict):
    """A run that was stopped in the middle of a line goes on, to the same figures bit by bit."""
    results = out / "measurements.jsonl"
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:len(lines) // 2]) + lines[len(lines) // 2][:40])
    again = ablate(model, tokens, out, *GOAL)
    check("resumed figures", again["sensitivity"] == report["sensitivity"] and again["orders"] == report["orders"])
    check("resumed lines", len(results.read_text().splitlines()) >= len(lines))
    before = results.read_bytes()
    ablate(model, tokens, out, *GOAL)
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
    for number in 1, 3:
        check("before it is compiled", not (folder / f"refused-{number}").exists())
    refused("no text", 1, "none.npy", model, f"--tokens={folder / 'none.npy'}", *fresh(10))
    refused("no recipes", 1, "none.json: there is no such file", model, f"--tokens={tokens}", "--recipes=none.json", *fresh(11))
    refused("a budget that is not measured", 2, "embeddings are measured with --inputs", model, f"--tokens={tokens}",
            "--budget=cos:0.9", *fresh(12))
    refused("nor of embeddings", 2, "no perplexity", model, f"--inputs={tokens}", "--budget=ppl:1.1", *fresh(12))
    refused("numbers below zero", 2, "--starts: Value -1 not in range", model, f"--tokens={tokens}", "--starts=-1", *fresh(13))
    refused("no model", 1, "there is no such file", folder / "none.onnx", f"--tokens={tokens}", *fresh(4))
    refused("budget", 2, "expected ppl:RATIO", model, f"--tokens={tokens}", "--budget=ppl:0.5", *fresh(5))
    refused("link", 2, "--link=fast", model, f"--tokens={tokens}", "--link=fast", *fresh(6))
    refused("weights", 2, "--weights=i5: 'i5' is none of", model, f"--tokens={tokens}", "--weights=i5", *fresh(8))
    refused("dtype", 2, "f8 not in", model, f"--tokens={tokens}", "--dtype=f8", *fresh(9))
    refused("choice", 2, "expected for example", model, f"--tokens={tokens}", "--choice=drop it", *fresh(7))
    other = folder / "other" / "model.onnx"
    other.parent.mkdir()
    other.write_bytes(model.read_bytes())
    before = (out / "program" / "manifest.json").stat().st_mtime_ns
    refused("folder of another model", 1, f"holds results for {model}, this run is for {other}", other, f"--tokens={tokens}",
            "--tp=2", "-o", out)
    check("whose program stays", (out / "program" / "manifest.json").stat().st_mtime_ns == before)
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
            report = ablate(model, tokens, out, *GOAL)
            check_figures(model, text, report, out, folder)
            check_construction(report)
            check_recipes(model, tokens, text, folder)
            check_heads(model, tokens, text, report["exact"]["perplexity"], folder)
            check_formats(model, tokens, text, folder)
            check_halves(model, text, folder)
            check_encoder(folder)
            check_resume(model, tokens, out, report)
            check_full_disk(model, tokens, out, report)
            check_at_work(model, tokens, report, folder)
            check_refusals(model, text, tokens, out, folder)
        except programs.Failed as failure:
            check("tools", False, str(failure))
    print("caat-ablate: " + (f"{len(failures)} checks failed" if failures else "all checks passed"))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
