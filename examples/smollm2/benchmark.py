#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times caat and ONNX Runtime on the same ONNX file, alternating, each measurement in its own process. Run by scripts/bench.

    benchmark.py [--folder build/smollm2] [--bin build/bin] [--rounds 5] [--prefill 512] [--decode 32] [--json FILE]
                 [--weights f32,bf16,i4] [--llama PYTHON]

Prefill: one pass over 512 tokens with an empty cache, logits of every position. Decode: one token on a cache of 512.
ONNX Runtime decodes both with new caches in each step and with one bound cache; its better time counts.
--llama: a Python that has llama-cpp-python, which reads the GGUF file that the ONNX file was made of: 4 bits, the head 8.
"""
import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# How weights are stored and multiplied. Of the 4-bit GGUF that the model comes from, the head (the embedding) has 8 bits.
WEIGHTS = {"f32": ["--dtype=f32"], "bf16": ["--dtype=bf16"],
           "i4": ["--dtype=bf16", "--weights=i4", "--weights=model.embed_tokens.weight=i8"]}


def measure(command) -> tuple[str, float, int]:
    """(standard output, seconds, peak resident bytes) of a command; exits with its error."""
    began = time.monotonic()
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit status {child.returncode}")
    return output, time.monotonic() - began, usage.ru_maxrss * 1024


def timed(call, count: int) -> float:
    """Median seconds of `count` calls, after a first one."""
    call()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def llama_worker(gguf: str, threads: int, prefill: int, decode: int):
    """The same of llama.cpp."""
    from llama_cpp import Llama
    llama = Llama(gguf, n_ctx=2 * prefill, n_batch=prefill, n_ubatch=prefill, n_threads=threads,
                  n_threads_batch=threads, logits_all=True, verbose=False)
    ids = np.random.default_rng(0).integers(0, 49152, prefill + 1).tolist()

    def evaluate(tokens, past):
        llama.n_tokens = past       # what the cache has behind them is dropped
        llama.eval(tokens)

    print(json.dumps({"prefill_s": timed(lambda: evaluate(ids[:prefill], 0), 3),
                      "decode_s": timed(lambda: evaluate(ids[prefill:], prefill), decode)}))


def onnxruntime_worker(model: str, threads: int, prefill: int, decode: int):
    """Prints the seconds of a prefill and of a decode step (medians) as JSON."""
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    caches = [i for i in session.get_inputs() if i.name.startswith("past_key_values")]
    heads, dim = caches[0].shape[1], caches[0].shape[3]
    ids = np.random.default_rng(0).integers(0, 49152, (1, prefill + 1))

    def feed(tokens, past, total):
        return {"input_ids": tokens, "attention_mask": np.ones((1, total), np.int64), **past}

    empty = {c.name: np.zeros((1, heads, 0, dim), np.float32) for c in caches}
    first = feed(ids[:, :prefill], empty, prefill)
    names = [o.name for o in session.get_outputs()]
    after = dict(zip(names, session.run(None, first)))
    past = {c.name: after[c.name.replace("past_key_values", "present")] for c in caches}
    second = feed(ids[:, prefill:], past, prefill + 1)

    binding = session.io_binding()      # past and present in one buffer, as generators do
    binding.bind_cpu_input("input_ids", second["input_ids"])
    binding.bind_cpu_input("attention_mask", second["attention_mask"])
    binding.bind_output("logits", "cpu")
    buffers = []
    for name, array in past.items():
        room = np.zeros((1, heads, 2 * prefill, dim), np.float32)
        room[:, :, :prefill] = array
        value = ort.OrtValue.ortvalue_from_numpy(room)
        buffers.append(value)
        binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(name.replace("past_key_values", "present"), value)
    plain = session.run(["logits"], second)[0]
    session.run_with_iobinding(binding)
    same = np.abs(binding.copy_outputs_to_cpu()[0] - plain).max() < 1e-2
    result = {"prefill_s": timed(lambda: session.run(["logits"], first), 3),
              "decode_new_s": timed(lambda: session.run(None, second), decode)}
    if same:
        result["decode_bound_s"] = timed(lambda: session.run_with_iobinding(binding), decode)
    result["decode_s"] = min(result["decode_new_s"], result.get("decode_bound_s", np.inf))
    print(json.dumps(result))


def caat_times(output: str) -> dict:
    bench = json.loads(output)
    return {"prefill_s": bench["prefill"]["seconds"], "decode_s": bench["decode"]["seconds_per_token"],
            "bench": bench}


def medians(rounds: list[dict]) -> dict:
    return {key: statistics.median(r[key] for r in rounds) for key in ("prefill_s", "decode_s", "peak_bytes")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "smollm2")
    parser.add_argument("--bin", type=Path, default=ROOT / "build" / "bin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--tp", default="2,1", help="tensor-parallel sizes to time")
    parser.add_argument("--weights", default="f32,bf16,i4", help="how they are stored and multiplied")
    parser.add_argument("--llama", metavar="PYTHON", help="time llama.cpp too, with a Python that has llama-cpp-python")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--worker", nargs=3, metavar=("NAME", "MODEL", "THREADS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        name, model, threads = arguments.worker
        worker = llama_worker if name == "llama" else onnxruntime_worker
        worker(model, int(threads), arguments.prefill, arguments.decode)
        return
    folder, sizes = arguments.folder, list(map(int, arguments.tp.split(",")))
    model = folder / "model.onnx"
    if not model.exists():
        measure([sys.executable, HERE / "export.py", folder])

    commands, compile_s = {}, {}
    for weights, tp in itertools.product(arguments.weights.split(","), sizes):
        program = folder / "programs" / f"bench-tp{tp}-{weights}"
        name = f"TP={tp}, {weights}"
        print(f"compiling for {name}", file=sys.stderr, flush=True)
        _, compile_s[name], _ = measure([arguments.bin / "caat-compile", model, f"--tp={tp}", *WEIGHTS[weights],
                                         "-o", program])
        commands[f"caat {name}"] = [arguments.bin / "caat-run", "bench", program, f"--prefill={arguments.prefill}",
                                    f"--decode={arguments.decode}", "--json"]
    threads = max(sizes)
    rival = f"ONNX Runtime, {threads} threads"
    lengths = ["--prefill", arguments.prefill, "--decode", arguments.decode]
    commands[rival] = [sys.executable, __file__, "--worker", "onnxruntime", model, threads, *lengths]
    if arguments.llama:
        from export import find_gguf
        commands[f"llama.cpp, {threads} threads, 4 bits"] = [arguments.llama, __file__, "--worker", "llama", find_gguf(),
                                                             threads, *lengths]
    rounds = {name: [] for name in commands}
    for i in range(arguments.rounds):
        for name, command in commands.items():
            print(f"round {i + 1} of {arguments.rounds}: {name}", file=sys.stderr, flush=True)
            output, _, peak = measure(command)
            times = caat_times(output) if name.startswith("caat") else json.loads(output)
            rounds[name].append({**times, "peak_bytes": peak})

    result = {"prefill_tokens": arguments.prefill, "context": arguments.prefill, "rounds": arguments.rounds,
              "compile_s": compile_s,
              "medians": {name: medians(r) for name, r in rounds.items()},
              "caat": {name: r[-1]["bench"] for name, r in rounds.items() if name.startswith("caat")},
              "every_round": {name: [{k: v for k, v in x.items() if k != "bench"} for x in r]
                              for name, r in rounds.items()}}
    base = result["medians"][rival]
    print(f"{'':32} {'prefill ' + str(arguments.prefill):>12} {'x':>6} {'decode':>10} {'x':>6} {'peak memory':>12}")
    for name, m in result["medians"].items():
        m["prefill_ratio"], m["decode_ratio"] = base["prefill_s"] / m["prefill_s"], base["decode_s"] / m["decode_s"]
        print(f"{name:32} {m['prefill_s']:10.3f} s {m['prefill_ratio']:6.2f} {m['decode_s'] * 1e3:7.1f} ms"
              f" {m['decode_ratio']:6.2f} {m['peak_bytes'] / 1e6:9.0f} MB")
    print(f"x: speed relative to {rival}; medians of {arguments.rounds} alternating rounds")
    print("compile: " + "; ".join(f"{name} {s:.1f} s" for name, s in compile_s.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
