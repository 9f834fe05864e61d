#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Inputs of a sentence encoder: sentences of Debian's Administrator's Handbook, padded to one length.

    sentences.py TOKENIZER.json OUT.npz [--count 768] [--length 64]

Sentences that are too long or very short are left out; the others are taken evenly from the whole book.
"""
import argparse
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "smollm2"))
import corpus  # noqa: E402

SHORTEST = 8  # tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer")
    parser.add_argument("out")
    parser.add_argument("--count", type=int, default=768)
    parser.add_argument("--length", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = " ".join(p for page in sorted(corpus.handbook(folder)) for p in corpus.paragraphs(Path(page).read_text("utf8")))
    sentences = list(dict.fromkeys(re.split(r"(?<=[.!?]) (?=[A-Z])", text)))
    tokenizer = Tokenizer.from_file(arguments.tokenizer)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    rows = [e.ids for e in tokenizer.encode_batch(sentences) if SHORTEST <= len(e.ids) <= arguments.length]
    if len(rows) < arguments.count:
        sys.exit(f"error: {len(rows)} sentences of at most {arguments.length} tokens, not {arguments.count}")
    rows = [rows[i] for i in np.linspace(0, len(rows) - 1, arguments.count).astype(int)]
    # Neighbours share their topic: mixed, so that every stretch of the file holds all of them.
    rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
    ids = np.zeros((arguments.count, arguments.length), np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, :len(row)] = row
        mask[i, :len(row)] = 1
    np.savez(arguments.out, input_ids=ids, attention_mask=mask, token_type_ids=np.zeros_like(ids))
    print(f"wrote {arguments.out}: {arguments.count} of {len(sentences)} sentences", file=sys.stderr)


if __name__ == "__main__":
    main()
