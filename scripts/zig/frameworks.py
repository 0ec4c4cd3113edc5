"""Writes a folder that a linker takes in place of Apple's SDK.

    cargo metadata --format-version 1 --filter-platform aarch64-apple-darwin | frameworks.py OUT

A linker wants to know of a framework only where it is and which names it has. Both stand in the crates that declare
its functions, so that no file of Apple's is needed. The system's own library is zig's.
"""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

STUB = """--- !tapi-tbd
tbd-version: 4
targets: [ arm64-macos ]
install-name: '/System/Library/Frameworks/{name}.framework/Versions/A/{name}'
exports:
  - targets: [ arm64-macos ]
    symbols: [ {symbols} ]
...
"""
LINKED = re.compile(r'link\(\s*name\s*=\s*"(\w+)",\s*kind\s*=\s*"framework"')
DECLARED = re.compile(r'extern "C(?:-unwind)?" \{\n(.*?)^\}', re.DOTALL | re.MULTILINE)
NAME = re.compile(r"\b(?:fn|static(?: mut)?) (\w+)")


def frameworks(metadata):
    """The frameworks that the crates link to, with the names that these declare."""
    used = {node["id"] for node in metadata["resolve"]["nodes"]}
    found = {}
    for package in metadata["packages"]:
        folder = Path(package["manifest_path"]).parent / "src"
        root = folder / "lib.rs"
        named = LINKED.search(root.read_text()) if package["id"] in used and root.exists() else None
        if named:
            texts = [path.read_text() for path in folder.rglob("*.rs")]
            blocks = [block for text in texts for block in DECLARED.findall(text)]
            found.setdefault(named[1], set()).update(name for block in blocks for name in NAME.findall(block))
    return found


out = Path(sys.argv[1])
shutil.rmtree(out, ignore_errors=True)
for name, symbols in frameworks(json.load(sys.stdin)).items():
    folder = out / "System" / "Library" / "Frameworks" / f"{name}.framework"
    folder.mkdir(parents=True)
    text = STUB.format(name=name, symbols=", ".join(f"_{symbol}" for symbol in sorted(symbols)))
    (folder / f"{name}.tbd").write_text(text)
    print(f"{name}: {len(symbols)} names")
libraries = out / "usr" / "lib"
libraries.mkdir(parents=True)
zig = Path(importlib.util.find_spec("ziglang").origin).parent
shutil.copy(zig / "lib" / "libc" / "darwin" / "libSystem.tbd", libraries / "libSystem.tbd")
