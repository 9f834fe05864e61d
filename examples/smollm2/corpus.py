#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A token file from English prose: the paragraphs of Debian's Administrator's Handbook.

    corpus.py TOKENIZER.json OUT.npy [FILE.html ...]

Without files, reads the English pages of the package debian-handbook, which apt-get downloads where it is not installed. OUT.npy is int64, about 206,000
tokens of SmolLM2's tokenizer.
"""
import argparse
import html
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer


def paragraphs(page: str) -> list[str]:
    """The text of a page's paragraphs, without markup, scripts and listings."""
    page = re.sub(r"(?s)<(script|style|pre).*?</\1>", "", page)
    found = re.findall(r'(?s)<div class="para">(.*?)</div>', page) or re.findall(r"(?s)<p[^>]*>(.*?)</p>", page)
    return [re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", p))).strip() for p in found]


PAGES = "usr/share/doc/debian-handbook/html/en-US"


def handbook(folder: str) -> list[str]:
    """The package's English pages, installed or unpacked into `folder`."""
    if installed := list(Path("/", PAGES).glob("*.html")):
        return [str(p) for p in installed]
    print("downloading the package debian-handbook", file=sys.stderr)
    subprocess.run(["apt-get", "download", "-qq", "debian-handbook"], cwd=folder, check=True,
                   stderr=subprocess.DEVNULL)
    package = next(Path(folder).glob("debian-handbook_*.deb"))
    subprocess.run(["dpkg", "-x", package, folder], check=True)
    return [str(p) for p in Path(folder, PAGES).glob("*.html")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer")
    parser.add_argument("out")
    parser.add_argument("pages", nargs="*")
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(arguments.tokenizer)
    with tempfile.TemporaryDirectory() as folder:
        pages = arguments.pages or handbook(folder)
        text = "".join("\n".join(paragraphs(Path(p).read_text("utf8"))) + "\n" for p in sorted(pages))
    ids = np.array(tokenizer.encode(text).ids, np.int64)
    np.save(arguments.out, ids)
    print(f"wrote {arguments.out}: {len(ids)} tokens of {len(pages)} pages", file=sys.stderr)


if __name__ == "__main__":
    main()
