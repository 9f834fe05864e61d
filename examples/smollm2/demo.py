#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Shows on SmolLM2-135M what each plan saves in communication and costs in quality. Run by scripts/demo.

    demo.py [--folder build/smollm2] [--bin build/bin] [--tp 3] [--prompt TEXT] [--plans a,b]
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WINDOWS = 4
LENGTH = 512
PLANS = {
    "full": "every site sums all channels: exact",
    "spd-15": "SPD: attention sites of the 15 least sensitive layers dropped",
    "spd-all": "SPD: all 30 attention sites dropped",
    "deferred-50": "attention sites sum the 50 % of channels with most energy, defer the rest",
    "deferred-25": "the same with 25 %",
    "deferred-25-affine": "the same, readers estimate the missing part by a line per channel",
    "caat-90": "CAAT-Net: 10 % of the channels private everywhere (meant for models trained so)",
}


def say(text=""):
    print(text, file=sys.stderr, flush=True)


class Steps:
    """Progress on stderr: what is being done, and how long it took."""

    def __init__(self):
        self.tty = sys.stderr.isatty()

    def __call__(self, text):
        self.text, self.began = text, time.monotonic()
        print(f"  {text} …", end="" if self.tty else "\n", file=sys.stderr, flush=True)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        took = f"{time.monotonic() - self.began:.1f} s"
        if self.tty:
            print(f"\r  {self.text}: {took}        ", file=sys.stderr, flush=True)


def run(*command) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"\n{' '.join(map(str, command))}\nfailed with exit status {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def prepare(folder: Path, tp: int, names):
    """The model as ONNX, its tokenizer, a text to measure on, and the plans."""
    step = Steps()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model.onnx").exists():
        with step("writing SmolLM2-135M-Instruct as ONNX"):
            run(sys.executable, HERE / "export.py", folder)
    if not (folder / "corpus.npy").exists():
        with step("turning the Debian handbook into tokens"):
            run(sys.executable, HERE / "corpus.py", folder / "tokenizer.json", folder / "corpus.npy")
    missing = [n for n in names if not (folder / "plans" / f"{n}.json").exists()]
    made_for = json.loads((folder / "plans" / "full.json").read_text())["tp"] if not missing else None
    if made_for != tp:
        with step("measuring which channels matter, on text that is not scored (about a minute)"):
            run(sys.executable, HERE / "make_plans.py", folder, "--tp", tp)


def chat(tokenizer: Tokenizer, prompt: str) -> np.ndarray:
    text = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n")
    return np.array(tokenizer.encode(text).ids, np.int64)


def communication(program: Path) -> tuple[int, int]:
    """(sync points that communicate, bytes that a rank gives to all-reduces for one token), from the manifest."""
    manifest = json.loads((program / "manifest.json").read_text())
    one = {name: 1 for name in manifest["dims"]}
    size = {"f32": 4, "bf16": 2, "f16": 2}
    total = sum(eval(str(c["count"]).replace("floordiv", "//"), {"__builtins__": {}}, one) * size[c["dtype"]]
                for c in manifest["collectives"] if c["kind"] == "all_reduce")
    return sum(site["elements"] > 0 for site in manifest["sync"]), total


def time_program(program: Path, binaries: Path) -> dict[str, float]:
    bench = json.loads(run(binaries / "caat-run", "bench", program, f"--prefill={LENGTH}", "--decode=24", "--repeats=2",
                           "--json"))
    return {kind: bench[kind]["tokens_per_second"] for kind in ("prefill", "decode")}


def time_beside(program: Path, full: Path, binaries: Path) -> dict[str, float]:
    """Tokens per second, and as a multiple of the full program's, which runs in turn with it."""
    if program == full:
        times = time_program(full, binaries)
        return times | {f"{kind}_ratio": 1.0 for kind in times}
    rounds = [(time_program(full, binaries), time_program(program, binaries)) for _ in range(2)]
    result = {}
    for kind in ("prefill", "decode"):
        base, own = (max(r[i][kind] for r in rounds) for i in (0, 1))
        result |= {kind: own, f"{kind}_ratio": own / base}
    return result


def measure(folder: Path, binaries: Path, tp: int, name: str, tokenizer: Tokenizer, prompt: np.ndarray) -> dict:
    step, programs = Steps(), folder / "programs"
    program, full = programs / f"{name}-tp{tp}", programs / f"full-tp{tp}"
    with step(f"{name}: compiling"):
        run(binaries / "caat-compile", folder / "model.onnx", f"--tp={tp}",
            f"--plan={folder / 'plans' / name}.json", "-o", program)
    with step(f"{name}: scoring {WINDOWS * LENGTH} tokens"):
        score = json.loads(run(binaries / "caat-run", "score", program, f"--tokens={folder / 'corpus.npy'}",
                               f"--length={LENGTH}", f"--samples={WINDOWS}"))
    with step(f"{name}: writing an answer"):
        np.save(folder / "prompt.npy", prompt)
        stop = tokenizer.token_to_id("<|im_end|>")
        answer = json.loads(run(binaries / "caat-run", "generate", program, f"--tokens={folder / 'prompt.npy'}",
                                "--max-new-tokens=48", f"--stop-token={stop}", "--json"))["tokens"][0]
    with step(f"{name}: timing" + ("" if program == full else ", in turn with full")):
        times = time_beside(program, full, binaries)
    points, size = communication(program)
    if program != full:
        shutil.rmtree(program)      # half a gigabyte each
    return {"plan": name, "sync_points": points, "bytes_per_token": size, "perplexity": score["perplexity"], **times,
            "answer": " ".join(tokenizer.decode(answer).split())}


def table(rows: list[dict], prompt: str):
    full = rows[0]
    print(f"{'plan':20} {'sync points':>11} {'KB/token':>9} {'of full':>8} {'perplexity':>11}"
          f" {'prefill t/s':>12} {'x full':>7} {'decode t/s':>11} {'x full':>7}")
    for r in rows:
        print(f"{r['plan']:20} {r['sync_points']:11d} {r['bytes_per_token'] / 1024:9.1f}"
              f" {r['bytes_per_token'] / full['bytes_per_token']:8.0%} {r['perplexity']:11.2f} {r['prefill']:12.0f}"
              f" {r['prefill_ratio']:7.2f} {r['decode']:11.1f} {r['decode_ratio']:7.2f}")
    print("\nKB/token: what each rank gives to all-reduces for one token, the embedding's included. Ranks are threads of one\n"
          "process here, so fewer bytes hardly show in the times; over PCIe or a network they do.\n")
    for r in rows:
        print(f"  {r['plan']:20} {PLANS.get(r['plan'], '')}")
    print(f"\nAnswers to: {prompt}\n")
    for r in rows:
        print(f"  {r['plan']:20} {r['answer']}\n")


def layer_of(ir: str, layer: int) -> list[str]:
    """The printed program's lines from one layer's attention output product to the sum after its MLP, made shorter."""
    lines = ir.splitlines()
    first = next(i for i, line in enumerate(lines) if f'"layers.{layer}.attn"' in line and not line.startswith("module"))
    last = max(i for i, line in enumerate(lines) if f'tp.all_reduce' in line and f'"layers.{layer}.mlp"' in line)
    while "onnx.MatMul" not in lines[first]:
        first -= 1
    shorter = []
    for line in lines[first:last + 2]:
        line = re.sub(r" : \(.*\) -> (.*)$", r" : \1", line.strip())     # the result's type is enough
        line = re.sub(r"dense(_resource)?<[^>]{9,}>", "dense<…>", line)
        shorter.append(line)
    return shorter


def show_ir(folder: Path, binaries: Path, tp: int, layer=3):
    for title, plan in (("before: every site full", "full"), ("after: plan deferred-25", "deferred-25")):
        ir = run(binaries / "caat-opt", folder / "model.onnx", "--mlir-elide-elementsattrs-if-larger=8",
                 f"--tp-pipeline=size={tp} plan={folder / 'plans' / plan}.json")
        print(f"Layer {layer}, from its attention's output product to the sum after its MLP, {title}\n")
        for line in layer_of(ir, layer):
            print("    " + line)
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "smollm2")
    parser.add_argument("--bin", type=Path, default=ROOT / "build" / "bin")
    parser.add_argument("--tp", type=int, default=3)
    parser.add_argument("--prompt", default="What is a compiler? Answer in two sentences.")
    parser.add_argument("--plans", default=",".join(PLANS))
    arguments = parser.parse_args()
    names = ["full"] + [n for n in arguments.plans.split(",") if n != "full"]
    began = time.monotonic()
    say(f"SmolLM2-135M-Instruct on {arguments.tp} ranks (threads of this machine's {os.cpu_count()} processors)")
    prepare(arguments.folder, arguments.tp, names)
    tokenizer = Tokenizer.from_file(str(arguments.folder / "tokenizer.json"))
    prompt = chat(tokenizer, arguments.prompt)
    rows = [measure(arguments.folder, arguments.bin, arguments.tp, name, tokenizer, prompt) for name in names]
    say(f"done in {time.monotonic() - began:.0f} s\n")
    table(rows, arguments.prompt)
    show_ir(arguments.folder, arguments.bin, arguments.tp)
    (arguments.folder / "demo.json").write_text(json.dumps(rows, indent=1) + "\n")
    print("""Try next
    scripts/demo --prompt "Name three uses of Debian."      another prompt
    scripts/demo --tp 4                                     3 KV heads on 4 ranks: one rank only pads in attention
    build/venv/bin/python examples/smollm2/make_plans.py    edit the plans it writes to build/smollm2/plans
    build/bin/caat-compile YOUR_MODEL.onnx --tp=2 -o DIR    your own model
    scripts/bench                                           speed against ONNX Runtime""")


if __name__ == "__main__":
    main()
