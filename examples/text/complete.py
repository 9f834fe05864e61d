#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Continues a text with a compiled model, and the tokenizer that was exported beside it.

    optimum-cli export onnx --model=HuggingFaceTB/SmolLM2-135M-Instruct --task=text-generation-with-past exported/
    caat-compile exported/model.onnx --tp=2 -o program/
    examples/text/complete.py program/ exported/tokenizer.json "A compiler is"

Further options go to `caat-run generate`: --max-new-tokens=64 --temperature=0.7 --device=0,1 and so on. Needs Python's numpy and tokenizers.
"""
import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

BUILD = Path(os.environ.get("CAAT_BIN", Path(__file__).resolve().parents[2] / "build" / "bin"))


def continue_tokens(program: Path, prompt: list[int], options: list[str]) -> list[int]:
    """The tokens that `caat-run generate` adds to `prompt`."""
    tool = BUILD / "caat-run" if (BUILD / "caat-run").exists() else "caat-run"
    with tempfile.TemporaryDirectory() as folder:
        tokens, text = Path(folder, "prompt.npy"), Path(folder, "text.npy")
        np.save(tokens, np.array(prompt, np.int64))
        subprocess.run([tool, "generate", program, f"--tokens={tokens}", f"--output={text}", "--quiet", *options], check=True,
                       stdout=subprocess.DEVNULL)
        return np.load(text).ravel()[len(prompt):].tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, help="artifact that caat-compile made")
    parser.add_argument("tokenizer", type=Path, help="tokenizer.json, of Hugging Face's tokenizers")
    parser.add_argument("prompt", help="text to continue")
    arguments, options = parser.parse_known_args()
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    prompt = tokenizer.encode(arguments.prompt).ids
    if not prompt:
        parser.error("the prompt has no tokens")
    try:
        print(tokenizer.decode(prompt + continue_tokens(arguments.program, prompt, options)))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)


if __name__ == "__main__":
    main()
