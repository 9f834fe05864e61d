# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs of which `tp-find-halves` says that they may be divided, whole and in two parts, by ONNX Runtime: the parts together
must give what the whole gives. Decoders of test/models and small graphs, or those given: divided.py [FOLDER...]."""
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

import divided_cases
from programs import MODELS, must

TOLERANCE = 1e-4
DTYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32, "tensor(bool)": bool}
LENGTH, PAST, CUTS = 11, 5, (1, 4, 10)


def find_halves(model: Path, folder: Path) -> dict[str, str]:
    """What may be divided (`tokens`, `batch`), and the reason for what may not."""
    out = folder / "halves.mlir"
    must("caat-opt", model, "--onnx-raise-pipeline=widen=true", "--tp-find-halves", "-o", out)
    with out.open() as lines:
        line = next(line for line in lines if "caat.halves" in line)
    text = re.search(r"caat\.halves = \{(.*?\})\}", line)[1]
    return {name: "" if verdict.startswith("dim") else verdict for name, verdict in re.findall(r'(\w+) = \{(.*?)\}', text)}


class Decoder:
    """A model whose inputs are filled as the engine fills them."""

    def __init__(self, file: Path):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.inputs = self.session.get_inputs()
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.caches = [i for i in self.inputs if i.name.startswith("past")]
        case = file.with_name("inputs_prefill.npz")
        self.widths = {name: array.shape[3] for name, array in np.load(case).items() if array.ndim == 4} if case.exists() else {}
        self.others = [name for name in self.outputs if not name.startswith("present")]

    def presents(self, results: dict) -> list[np.ndarray]:
        """In the order of the inputs."""
        return [results[i.name.replace("past_key_values", "present")] for i in self.caches]

    def run(self, ids: np.ndarray, pasts: list[np.ndarray] | None = None) -> dict[str, np.ndarray]:
        batch, n = ids.shape
        if pasts is None:
            pasts = [np.zeros((batch, i.shape[1], 0, self.widths.get(i.name, i.shape[3])), np.float32) for i in self.caches]
        past = pasts[0].shape[2]
        feeds = dict(zip((i.name for i in self.caches), pasts))
        fill = {"input_ids": ids, "attention_mask": np.ones((batch, past + n)),
                "position_ids": np.tile(np.arange(past, past + n), (batch, 1)), "cache_position": np.arange(past, past + n)}
        feeds |= {i.name: fill[i.name].astype(DTYPES[i.type]) for i in self.inputs if i.name in fill}
        return dict(zip(self.outputs, self.session.run(self.outputs, feeds)))


def difference(decoder: Decoder, whole: dict, parts: list[dict], axis: int, caches: list[np.ndarray]) -> float:
    worst = max(np.abs(whole[name] - np.concatenate([part[name] for part in parts], axis)).max() for name in decoder.others)
    return max(worst, *(np.abs(a - b).max() for a, b in zip(decoder.presents(whole), caches)))


def divide_tokens(decoder: Decoder, ids: np.ndarray) -> float:
    worst = 0.0
    before = decoder.presents(decoder.run(ids[:1, :PAST]))
    for pasts in (None, before):
        new = ids[:1] if pasts is None else ids[:1, PAST:]
        whole = decoder.run(new, pasts)
        for cut in CUTS:
            if cut >= new.shape[1]:
                continue
            first = decoder.run(new[:, :cut], pasts)
            second = decoder.run(new[:, cut:], decoder.presents(first))
            worst = max(worst, difference(decoder, whole, [first, second], 1, decoder.presents(second)))
    return worst


def divide_batch(decoder: Decoder, ids: np.ndarray) -> float:
    whole, parts = decoder.run(ids), [decoder.run(ids[:1]), decoder.run(ids[1:])]
    caches = [np.concatenate(pair) for pair in zip(*map(decoder.presents, parts))]
    return difference(decoder, whole, parts, 0, caches)


def main(folders: list[str]) -> int:
    models = [Path(folder) for folder in folders] or sorted(MODELS.iterdir())
    ids = np.random.default_rng(7).integers(1, 60, (3, LENGTH))
    proved = failures = 0
    with tempfile.TemporaryDirectory() as scratch:
        for model in models:
            if not (model / "inputs_prefill.npz").exists():
                continue
            decoder, halves = Decoder(model / "model.onnx"), find_halves(model / "model.onnx", Path(scratch))
            for what, divide in (("tokens", divide_tokens), ("batch", divide_batch)):
                worst = divide(decoder, ids) if not halves[what] else None
                bad = worst is not None and not worst <= TOLERANCE
                proved += worst is not None
                failures += bad
                print(f"{'FAILED' if bad else 'ok'} {model.name} {what}: "
                      + (halves[what] if worst is None else f"parts differ by {worst:.1e}"))
    if not folders and proved < 12:
        print(f"FAILED: only {proved} divisions are proved")
        failures += 1
    return int(failures > 0 or not (folders or try_cases(ids)))


def try_cases(ids: np.ndarray) -> bool:
    """Of small graphs, what is proved must be so; and what is so, and should be seen to be, must be proved."""
    good, cautious = True, []
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "model.onnx")
        for name in [*divided_cases.INPUT, *divided_cases.OUTPUT]:
            divided_cases.write(name, file)
            halves, decoder = find_halves(file, Path(scratch)), Decoder(file)
            for what, divide in (("tokens", divide_tokens), ("batch", divide_batch)):
                reason = halves[what]
                try:
                    worst = divide(decoder, ids)
                except ValueError:  # results that cannot even be joined
                    worst = np.inf
                holds = worst <= TOLERANCE
                wanted = what == "tokens" and name in divided_cases.PROVED
                bad = (not reason and not holds) or (wanted and (reason or not holds))
                good &= not bad
                if reason and holds:
                    cautious.append(f"{name} ({what})")
                print(f"{'FAILED' if bad else 'ok'} {name} {what}: {reason or 'proved'}; parts differ by {worst:.1e}")
    print(f"not proved, although it holds: {', '.join(cautious) or 'none'}")
    return good


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
