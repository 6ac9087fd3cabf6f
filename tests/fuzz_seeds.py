#!/usr/bin/env python3
# tests/fuzz_seeds.py - inputs to begin with, and words, for tests/fuzz_*.c
# SPDX-License-Identifier: MIT
#
# Usage: fuzz_seeds.py DIRECTORY, from the top of the repository
# Makes DIRECTORY/signal, DIRECTORY/adapter, DIRECTORY/checkpoint (one file an input) and DIRECTORY/words.
import json
import pathlib
import re
import sys

STATUSES = [200, 400, 403, 418, 420, 422, 429, 430, 477, 500, 503, 509, 529, 301, 100, 599]
top = pathlib.Path(sys.argv[1])
vendors = sorted(p.stem for p in pathlib.Path("src/vendors").glob("*.yaml"))
words = set()

signals = top / "signal"
signals.mkdir(parents=True, exist_ok=True)
for file in ("vendor-signals.json", "vendor-signals-varied.json"):
    for case in json.loads(pathlib.Path("tests/data", file).read_text()):
        vendor = case["vendor"] if case["vendor"] in vendors else "generic"
        text = bytes([vendors.index(vendor), STATUSES.index(case["status"])
                      if case["status"] in STATUSES else 6])
        for name, value in case["headers"].items():
            for line in value if isinstance(value, list) else [value]:
                text += f"{name}:{line}\n".encode()
            words.add(name.lower())
        if case["body"] is not None:
            text += b"\n" + case["body"].encode()
        (signals / case["id"]).write_bytes(text)

adapters = top / "adapter"
adapters.mkdir(parents=True, exist_ok=True)
for vendor in vendors:
    text = pathlib.Path("src/vendors", vendor + ".yaml").read_text()
    # The limits are the policy compiler's.
    text = re.split(r"\nlimits:\n", text)[0]
    (adapters / vendor).write_text(re.sub(r"^#.*\n", "", text, flags=re.M))
    words.update(re.findall(r"[a-z][a-z_-]+(?=: )", text))

# How long ago it was made, what the wall clock shows, the file.
checkpoints = top / "checkpoint"
checkpoints.mkdir(parents=True, exist_ok=True)
golden = pathlib.Path("tests/data/checkpoint-1").read_bytes()
for elapsed in (0, 1, 3600 * 10**9, 10**17):
    before = elapsed.to_bytes(8, "little") + (177 * 10**16 + elapsed).to_bytes(8, "little")
    (checkpoints / f"golden-{elapsed}").write_bytes(before + golden)
words.update(("window/l", "rolling/l", "bucket/l", "window/m", "window/m:interactive.guarantee", "acme"))

(top / "words").write_text("".join(f'"{w}"\n' for w in sorted(words) if '"' not in w and "\\" not in w))
