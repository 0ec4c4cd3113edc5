"""Checks a folder of packages, and prints a line for each thing that is right.

    verify.py OUT [--any-program]

Programs are of the system and processor that their archive names, static on Linux and signed for macOS, and need
nothing that the system has not; with `--any-program` that is not looked at. launchd's job is a property list. Sums,
versions and addresses in the manifests are those of the archives; in the OCI image each part is what its digest says.
"""

import gzip
import hashlib
import io
import json
import plistlib
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from shutil import which

DOCUMENTS = {"README.md", "LICENSE", "LICENCES.txt", "completions/secretbridge.ps1"}
PAGES = {"man/secretbridge.1", "completions/secretbridge.bash", "completions/_secretbridge", "completions/secretbridge.fish"}


def right(condition, what):
    if not condition:
        sys.exit(f"verify: {what}")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def elf(data, machine):
    right(data[:6] == b"\x7fELF\x02\x01", "no program for Linux")
    right(struct.unpack_from("<H", data, 18)[0] == machine, "the program is for another processor")
    start, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    kinds = {struct.unpack_from("<I", data, start + at * size)[0] for at in range(count)}
    right(3 not in kinds, "the program is not static: it names an interpreter")


def pe(data, machine):
    at = struct.unpack_from("<I", data, 60)[0]
    right(data[:2] == b"MZ" and data[at:at + 4] == b"PE\0\0", "no program for Windows")
    right(struct.unpack_from("<H", data, at + 4)[0] == machine, "the program is for another processor")
    brought = re.search(rb"lib(gcc|winpthread|stdc)[\w.+-]*\.dll", data, re.IGNORECASE)
    right(not brought, f"the program needs {brought and brought[0].decode()}, which Windows has not")


def mach(data, processor):
    """macOS on ARM starts no program without a signature; one without an identity is enough."""
    magic, found, _, _, count = struct.unpack_from("<5I", data)
    right(magic == 0xFEEDFACF and found == processor, "no program for macOS on this processor")
    at, signed = 32, None
    for _ in range(count):
        command, size = struct.unpack_from("<II", data, at)
        place = struct.unpack_from("<I", data, at + 8)[0]
        if command == 0x0C:  # LC_LOAD_DYLIB
            library = data[at + place:at + size].split(b"\0")[0].decode()
            right(library.startswith(("/usr/lib/", "/System/Library/")), f"the program needs {library}, which macOS has not")
        elif command == 0x32:  # LC_BUILD_VERSION
            oldest = struct.unpack_from("<I", data, at + 12)[0] >> 16
            right(oldest <= 11, f"the program is for macOS {oldest} and later alone")
        elif command == 0x1D:  # LC_CODE_SIGNATURE
            signed = place
        at += size
    right(signed is not None, "the program is not signed")
    signature(data, signed)


def signature(data, offset):
    blobs = struct.unpack_from(">I", data, offset + 8)[0]
    for number in range(blobs):
        kind, place = struct.unpack_from(">II", data, offset + 12 + 8 * number)
        if kind == 0:  # the code directory
            at = offset + place
            hashes, _, _, slots, limit = struct.unpack_from(">5I", data, at + 16)
            length, _, _, page = struct.unpack_from("4B", data, at + 36)
            step = 1 << page
            for slot in range(slots):
                part = data[slot * step:min((slot + 1) * step, limit)]
                want = data[at + hashes + slot * length:][:length]
                right(hashlib.sha256(part).digest()[:length] == want, "the program's signature is of another program")
            return
    right(False, "the program's signature has no code directory")


PROGRAMS = {
    "x86_64-unknown-linux-musl": lambda data: elf(data, 62),
    "aarch64-unknown-linux-musl": lambda data: elf(data, 183),
    "x86_64-pc-windows-gnu": lambda data: pe(data, 0x8664),
    "aarch64-apple-darwin": lambda data: mach(data, 0x0100000C),
}


def archive(path):
    """Names and contents, without the folder that all are in."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as packed:
            entries = {name: packed.read(name) for name in packed.namelist()}
        folder = path.stem
    else:
        with tarfile.open(path) as packed:
            entries = {entry.name: packed.extractfile(entry).read() for entry in packed}
        folder = path.name.removesuffix(".tar.gz")
    right(all(name.startswith(f"{folder}/") for name in entries), f"{path.name}: not all is in the folder {folder}")
    return {name.split("/", 1)[1]: data for name, data in entries.items()}


def job(data):
    """launchd starts it with the machine or its user, and again after an error."""
    read = plistlib.loads(data)
    right(read["Label"] == "secretbridge" and read["ProgramArguments"][1:] == ["serve"], "launchd: another job")
    right(read["RunAtLoad"] is True and read["KeepAlive"] == {"SuccessfulExit": False}, "launchd: it is not started")
    right(read["Umask"] == 0o077, "launchd: its files are open to others")


def archives(out, any_program):
    found = {}
    for path in sorted([*out.glob("*.zip"), *out.glob("*.tar.gz")]):
        version, target = re.fullmatch(r"secretbridge-([^-]+)-(.+?)\.(?:zip|tar\.gz)", path.name).groups()
        held = archive(path)
        program = "secretbridge.exe" if "windows" in target else "secretbridge"
        wanted = DOCUMENTS | {program} | (set() if "windows" in target else PAGES)
        right(wanted <= held.keys(), f"{path.name}: these are missing: {sorted(wanted - held.keys())}")
        right(all(held[name] for name in wanted), f"{path.name}: a file is empty")
        if not any_program:
            PROGRAMS[target](held[program])
        if "darwin" in target:
            job(held["launchd/secretbridge.plist"])
        found[target] = (version, path)
        print(f"{path.name}: {len(held)} files, {path.stat().st_size / 1e6:.1f} MB")
    right(found, "there is no archive")
    return found


def manifests(out, found):
    if "x86_64-pc-windows-gnu" in found:
        version, path = found["x86_64-pc-windows-gnu"]
        total = sha256(path.read_bytes())
        scoop = json.loads((out / "secretbridge.json").read_text())
        right((scoop["version"], scoop["hash"]) == (version, total), "scoop: another version or sum")
        right(scoop["url"].endswith(f"/{path.name}") and scoop["extract_dir"] == path.stem, "scoop: another archive")
        folder = out / "winget"
        texts = {each.name: each.read_text() for each in folder.iterdir()}
        right(len(texts) == 3, f"winget: {sorted(texts)}")
        for name, text in texts.items():
            right(f"PackageVersion: {version}\n" in text and "@" not in text, f"{name}: another version, or a gap")
        text = texts["secretbridge.secretbridge.installer.yaml"]
        right(total in text and f"/{path.name}\n" in text and f"{path.stem}\\secretbridge.exe" in text, "winget: another archive")
        print("manifests for winget and scoop: the archive's version, address and sum")
    if "aarch64-apple-darwin" in found:
        version, path = found["aarch64-apple-darwin"]
        text = (out / "secretbridge.rb").read_text()
        right(sha256(path.read_bytes()) in text and f'version "{version}"' in text and f"/{path.name}\"" in text, "brew: another archive")
        if which("ruby"):
            subprocess.run(["ruby", "-c", out / "secretbridge.rb"], check=True, stdout=subprocess.DEVNULL)
        print("formula for brew: the archive's version, address and sum")


def image(out):
    layout = out / "oci"

    def blob(reference):
        kind, digest = reference["digest"].split(":")
        data = (layout / "blobs" / kind / digest).read_bytes()
        right(sha256(data) == digest and len(data) == reference["size"], f"oci: {digest} is not what it says")
        return data

    right(json.loads((layout / "oci-layout").read_text())["imageLayoutVersion"] == "1.0.0", "oci: no layout")
    for reference in json.loads((layout / "index.json").read_text())["manifests"]:
        manifest = json.loads(blob(reference))
        config = json.loads(blob(manifest["config"]))
        layers = [gzip.decompress(blob(layer)) for layer in manifest["layers"]]
        right(config["rootfs"]["diff_ids"] == [f"sha256:{sha256(layer)}" for layer in layers], "oci: other layers")
        with tarfile.open(fileobj=io.BytesIO(layers[0])) as packed:
            entry = packed.getmember(config["config"]["Entrypoint"][0].lstrip("/"))
            right(entry.mode == 0o755, "oci: the program cannot be run")
        print(f"oci: {reference['platform']['os']}/{reference['platform']['architecture']}, each part is what its digest says")


def sums(out):
    lines = (out / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        total, name = line.split("  ")
        right(sha256((out / name).read_bytes()) == total, f"{name} is not what SHA256SUMS says")
    named = {line.split("  ")[1] for line in lines}
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and "oci" not in path.parts}
    right(named == files - {"SHA256SUMS"}, f"SHA256SUMS names {sorted(named ^ files)} differently")
    print(f"SHA256SUMS: {len(lines)} files")


def bill(out, version):
    path = out / "secretbridge.cdx.json"
    if not path.exists():
        return
    bill = json.loads(path.read_text())
    about = bill["metadata"]["component"]
    right((about["name"], about["version"]) == ("secretbridge", version), "the bill of materials is of another program")
    names = {part["name"] for part in bill["components"]}
    right({"tokio", "hyper", "age"} <= names, "the bill of materials is not whole")
    print(f"bill of materials: CycloneDX {bill['specVersion']}, {len(names)} parts")


def licences(out):
    text = (out / "LICENCES.txt").read_text()
    lines = text.split("\n\n", 1)[0].splitlines()
    right(len(lines) > 100 and all(re.fullmatch(r"\S+ \S+: .+", line) for line in lines), "licences: a line is odd")
    right("Permission is hereby granted" in text, "licences: their texts are missing")
    print(f"licences: {len(lines)} crates")


def packages(out, version):
    for path in sorted(out.glob("*.deb")):
        if which("dpkg-deb"):
            told = subprocess.run(["dpkg-deb", "--field", path, "Package", "Version", "Architecture"], check=True, capture_output=True, text=True).stdout
            right(f"Version: {version}" in told, f"{path.name}: {told}")
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


def main():
    out, any_program = Path(sys.argv[1]), "--any-program" in sys.argv
    found = archives(out, any_program)
    version = next(iter(found.values()))[0]
    manifests(out, found)
    if any("linux" in target for target in found):
        image(out)
    packages(out, version)
    bill(out, version)
    licences(out)
    sums(out)


main()
