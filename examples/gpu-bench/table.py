#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures programs of make_model.py's shapes on this machine's GPU, against PyTorch on the same shapes and against what no program can be
faster than: their products alone (cuBLASLt), and reading their weights once. Prints one table; needs no PyTorch for caat's columns.

    table.py PROGRAM... [--caat-run=caat-run] [--prefill 512,2048,8192] [--batch 1,16,64] [--seconds 300] [--json FILE]

A PROGRAM is a directory that caat-compile made, whose name holds 8b or 1b. Times are medians in milliseconds. A prefill computes the
logits of all positions, a step of decoding adds a token to `--context` others; both end with the best token in the host's memory.
PyTorch: bf16 throughout, scaled_dot_product_attention, static caches; eager, and torch.compile of a layer inside a CUDA graph of the
step. Products alone: every weight times as many rows, one after the other. Goals are the ratio of their time to caat's
prefill, both taken by turns, since a GPU that has been busy for long is slower, and the ratio of the time to read the
weights once, at the rate that a reading kernel reaches, to caat's step of decoding.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from shapes import SHAPES


# PyTorch: one process for each shape, so that its memory is free again.

def torch_model(shape, dtype):
    import torch
    from torch import nn
    import torch.nn.functional as F

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            width = shape.heads * shape.head
            self.qkv = nn.Linear(shape.hidden, (shape.heads + 2 * shape.kv_heads) * shape.head, bias=False)
            self.out = nn.Linear(width, shape.hidden, bias=False)
            self.gate = nn.Linear(shape.hidden, shape.ffn, bias=False)
            self.up = nn.Linear(shape.hidden, shape.ffn, bias=False)
            self.down = nn.Linear(shape.ffn, shape.hidden, bias=False)
            self.norm1, self.norm2 = nn.RMSNorm(shape.hidden, eps=1e-5), nn.RMSNorm(shape.hidden, eps=1e-5)

        def forward(self, x, cos, sin, keys, values, place, total: int):
            batch, tokens, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, -1, shape.head).transpose(1, 2).split(
                [shape.heads, shape.kv_heads, shape.kv_heads], dim=1)

            def rotate(t):
                a, b = t.chunk(2, dim=-1)
                return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)

            keys.index_copy_(2, place, rotate(k))
            values.index_copy_(2, place, v)
            y = F.scaled_dot_product_attention(rotate(q), keys[:, :, :total], values[:, :, :total], is_causal=tokens > 1, enable_gqa=True)
            x = x + self.out(y.transpose(1, 2).reshape(batch, tokens, -1))
            normed = self.norm2(x)
            return x + self.down(F.silu(self.gate(normed)) * self.up(normed))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(shape.vocabulary, shape.hidden)
            self.layers = nn.ModuleList(Layer() for _ in range(shape.layers))
            self.norm = nn.RMSNorm(shape.hidden, eps=1e-5)
            self.head = nn.Linear(shape.hidden, shape.vocabulary, bias=False)

        def forward(self, tokens, angles, caches, place, total: int):
            x, cos, sin = self.embed(tokens), angles[0][place], angles[1][place]
            for layer, (keys, values) in zip(self.layers, caches):
                x = layer(x, cos, sin, keys, values, place, total)
            return self.head(self.norm(x))[:, -1].argmax(dim=-1)

    with torch.device("cuda"):
        torch.set_default_dtype(dtype)
        return Model().eval()


def time_calls(run, repeats: int) -> float:
    import torch
    run()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def torch_worker(name: str, cases, context: int, seconds: float):
    """Prints a line of JSON for each time as it is known."""
    import torch
    begin = time.perf_counter()
    shape, dtype = SHAPES[name], torch.bfloat16

    def say(case, what, value):
        print(json.dumps({"case": case, "what": what, "value": value}), flush=True)

    say(None, "version", torch.__version__)
    with torch.inference_mode():
        model = torch_model(shape, dtype)
        most = max(rows if kind == "prefill" else context + 1 for kind, rows, _ in cases)
        turns = torch.arange(most, device="cuda")[:, None] / 500000 ** (torch.arange(shape.head // 2, device="cuda") / (shape.head // 2))
        angles = turns.cos().to(dtype), turns.sin().to(dtype)

        def step(kind, size, batch):
            tokens, first = (size, 0) if kind == "prefill" else (1, context)
            room = (batch, shape.kv_heads, first + tokens, shape.head)
            caches = [(torch.zeros(room, device="cuda", dtype=dtype), torch.zeros(room, device="cuda", dtype=dtype))
                      for _ in range(shape.layers)]
            ids = torch.randint(shape.vocabulary, (batch, tokens), device="cuda")
            place = torch.arange(first, first + tokens, device="cuda")
            return lambda: model(ids, angles, caches, place, first + tokens)

        repeats = {"prefill": 5, "decode": 20}
        for case in cases:
            run = step(*case)
            say(case, "eager", time_calls(lambda: run().cpu(), repeats[case[0]]))
        for layer in model.layers:
            layer.compile(dynamic=False)
        torch._dynamo.config.cache_size_limit = 64
        for case in cases:
            if time.perf_counter() - begin > seconds:
                break
            run = step(*case)
            run()
            run()
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                out = run()

            def replay():
                graph.replay()
                out.cpu()

            say(case, "compiled", time_calls(replay, repeats[case[0]]))
            del graph, out, run


def torch_times(name: str, cases, context: int, seconds: float) -> dict:
    command = [sys.executable, __file__, "--worker", json.dumps([name, cases, context, seconds])]
    times = {}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
        output, errors = done.stdout, done.stderr if done.returncode else ""
    except subprocess.TimeoutExpired as late:
        output, errors = (late.stdout or b"").decode(), "it took too long"
    for line in output.splitlines():
        if line.startswith("{"):
            record = json.loads(line)
            times[tuple(record["case"] or ()), record["what"]] = record["value"]
    if errors:
        print(f"PyTorch, {name}: {errors.strip().splitlines()[-1]}", file=sys.stderr)
    return times


# caat.

def caat_times(tool: str, program: str, kind: str, size: int, batch: int, context: int) -> dict:
    prefill, decode = (size, 0) if kind == "prefill" else (context, 24)
    command = [tool, "bench", program, "--random-weights=1", f"--prefill={prefill}", f"--decode={decode}", f"--batch={batch}",
               f"--repeats={5 if kind == 'prefill' else 3 if batch <= 16 else 1}", "--limits", "--json", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{' '.join(command)}: {done.stderr.strip()}", file=sys.stderr)
        return {}
    return json.loads(done.stdout)


def row(program: str, case, measured: dict, torch: dict) -> dict:
    kind, size, batch = case
    limits = measured.get("limits", {})
    result = {"program": Path(program).name, "ranks": measured.get("tp"), "kind": kind, "size": size, "batch": batch}
    if measured:
        seconds = measured["prefill"]["seconds"] if kind == "prefill" else measured["decode"]["seconds_per_token"]
        result |= {"caat": seconds, "products": limits[f"{kind}_products_seconds"], "weights": limits.get("decode_weights_seconds"),
                   "reached": limits[f"{kind}_reached"], "read_rate": limits.get("read_bytes_per_second"),
                   "share": measured[kind]["share"], "graphs": measured.get("decode", {}).get("graphs_per_step")}
    for what in ("eager", "compiled"):
        result[what] = torch.get((case, what))
    return result


def print_row(r: dict):
    def ms(value):
        return f"{value * 1e3:10.2f}" if value is not None else "         -"
    what = f"prefill {r['batch']} x {r['size']}" if r["kind"] == "prefill" else f"decode {r['batch']} at {r['size']}"
    best = min((r[k] for k in ("eager", "compiled") if r[k] is not None), default=None)
    ratio = f"{best / r['caat']:9.2f}x" if best is not None and r.get("caat") else "         -"
    reached = f"{r['reached'] * 100:8.1f} %" if r.get("reached") is not None else "         -"
    share = r.get("share", {})
    parts = " ".join(f"{k} {share[k] * 100:.0f}%" for k in ("linear", "matmul", "kernels", "communication", "other") if share.get(k))
    print(f"{r['program']:<18}{what:<18}{ms(r.get('caat'))}{ms(r.get('products'))}{ms(r.get('weights'))}{reached:>11}"
          f"{ms(r['eager'])}{ms(r['compiled'])}{ratio}  {parts}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", nargs="*")
    parser.add_argument("--caat-run", default="caat-run")
    parser.add_argument("--prefill", default="512,2048,8192")
    parser.add_argument("--batch", default="1,16,64")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=300, help="after which nothing more is compiled by PyTorch, for each shape")
    parser.add_argument("--no-torch", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        name, cases, context, seconds = json.loads(arguments.worker)
        return torch_worker(name, [tuple(case) for case in cases], context, seconds)
    numbers = {key: [int(n) for n in getattr(arguments, key).split(",") if n] for key in ("prefill", "batch")}
    cases = [("prefill", n, 1) for n in numbers["prefill"]] + [("decode", arguments.context, n) for n in numbers["batch"]]
    known, rows = {}, []
    print(f"{'program':<18}{'':<18}{'caat ms':>10}{'products':>10}{'weights':>10}{'reached':>11}{'eager':>10}{'compiled':>10}{'to torch':>10}")
    for program in arguments.programs:
        name = next(n for n in SHAPES if n in Path(program).name)
        if name not in known:
            known[name] = {} if arguments.no_torch else torch_times(name, cases, arguments.context, arguments.seconds)
        for case in cases:
            rows.append(row(program, case, caat_times(arguments.caat_run, program, *case, arguments.context), known[name]))
            print_row(rows[-1])
    for name, times in known.items():
        if ((), "version") in times:
            print(f"PyTorch {times[(), 'version']}")
            break
    rates = [r["read_rate"] for r in rows if r.get("read_rate")]
    if rates:
        print(f"a kernel that only reads: {max(rates) / 1e9:.0f} GB/s; reached: products alone / prefill, weights read once / step of decoding")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    sys.exit(any("caat" not in r for r in rows))


if __name__ == "__main__":
    main()
