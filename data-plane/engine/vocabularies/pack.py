"""Packs a `.tiktoken` file (base64 of a token, its rank; one a line, in order): pack.py IN OUT. Needs `zstandard`."""

import base64
import sys

import zstandard

source, target = sys.argv[1:]
with open(source, "rb") as file:
    pairs = [line.split() for line in file if line.strip()]
tokens = [base64.b64decode(token) for token, _ in pairs]
assert [int(rank) for _, rank in pairs] == list(range(len(tokens))), "ranks are places"
packed = bytes(len(token) for token in tokens) + b"".join(tokens)
with open(target, "wb") as file:
    file.write(zstandard.ZstdCompressor(level=22, write_content_size=True).compress(packed))
