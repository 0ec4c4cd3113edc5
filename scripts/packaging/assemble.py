"""Puts the built binaries into archives and an OCI image, and writes licences and manifests.

    assemble.py OUT TARGET...

OUT holds `metadata.json`, from `cargo metadata`. What was not built (in CARGO_TARGET_DIR, or in `target`) is
left out. The same input gives the same bytes: times are zero and owners are root.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
DOCUMENTS = ["README.md", "LICENSE"]
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def binary(target):
    """Where cargo has put the program, or nothing."""
    name = "secretbridge.exe" if "windows" in target else "secretbridge"
    path = BUILT / target / "release" / name
    return path if path.exists() else None


def contents(target):
    """What an archive holds: names and bytes."""
    program = binary(target)
    yield program.name, program.read_bytes(), 0o755
    for name in DOCUMENTS:
        if (ROOT / name).exists():
            yield name, (ROOT / name).read_bytes(), 0o644
    yield "LICENCES.txt", LICENCES.encode(), 0o644
    # On Windows nothing reads manual pages, and there is one shell.
    pages = BUILT / "pages"
    for path in sorted(pages.rglob("*.ps1" if "windows" in target else "*")):
        if path.is_file():
            yield path.relative_to(pages).as_posix(), path.read_bytes(), 0o644
    extra = {"linux": "systemd", "darwin": "launchd"}
    for system, folder in extra.items():
        if system in target:
            for path in sorted((ROOT / "scripts" / folder).iterdir()):
                yield f"{folder}/{path.name}", path.read_bytes(), 0o644


def tar(files):
    """A compressed tar file of (name, bytes, mode)."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as squeezed:
        with tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, data, mode in files:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.uname, entry.gname = len(data), mode, "root", "root"
                archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def archive(out, target):
    """Writes the archive of a target, and gives its name."""
    folder = f"secretbridge-{VERSION}-{target}"
    if "windows" in target:
        path = out / f"{folder}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data, mode in contents(target):
                entry = zipfile.ZipInfo(f"{folder}/{name}", (1980, 1, 1, 0, 0, 0))
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, mode << 16
                packed.writestr(entry, data)
    else:
        path = out / f"{folder}.tar.gz"
        path.write_bytes(tar((f"{folder}/{name}", data, mode) for name, data, mode in contents(target)))
    return path


def image(out, targets):
    """Writes an OCI image layout: one layer with the program, for each Linux target."""
    blobs = out / "oci" / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data, media):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"application/vnd.oci.image.{media}", "digest": f"sha256:{digest}", "size": len(data)}

    manifests = []
    for target in targets:
        layer = tar([("usr/bin/secretbridge", binary(target).read_bytes(), 0o755)])
        platform = {"architecture": ARCHITECTURES[target.split("-")[0]], "os": "linux"}
        config = {
            **platform,
            "config": {
                "User": "65532:65532",
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/secretbridge"],
                "Entrypoint": ["/usr/bin/secretbridge"],
                "Cmd": ["serve", "--config", "/etc/secretbridge/secretbridge.toml"],
                "StopSignal": "SIGTERM",
                "Labels": {"org.opencontainers.image.version": VERSION, "org.opencontainers.image.licenses": "MIT"},
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(gzip.decompress(layer)).hexdigest()]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(json.dumps(config).encode(), "config.v1+json"),
            "layers": [blob(layer, "layer.v1.tar+gzip")],
        }
        manifests.append({**blob(json.dumps(manifest).encode(), "manifest.v1+json"), "platform": platform})
    (out / "oci" / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    (out / "oci" / "index.json").write_text(json.dumps(index, indent=1))


def parts(metadata):
    """The crates that the program is made of, on any system: not those of its tests."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, left = set(), [metadata["resolve"]["root"]]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += [d["pkg"] for d in nodes[one]["deps"] if any(kind["kind"] != "dev" for kind in d["dep_kinds"])]
    return sorted((p for p in metadata["packages"] if p["id"] in found), key=lambda p: (p["name"], p["version"]))


def licences(metadata):
    """Every crate that the program is made of with its licence, then the texts that come with them."""
    texts = {}
    lines = []
    for crate in parts(metadata):
        name = f"{crate['name']} {crate['version']}"
        lines.append(f"{name}: {crate['license'] or 'see its text'}\n")
        folder = Path(crate["manifest_path"]).parent
        for kind in ("LICENSE", "LICENCE", "COPYING", "NOTICE", "COPYRIGHT", "UNLICENSE"):
            for path in sorted(folder.glob(f"{kind}*")):
                if path.is_file():
                    text = path.read_text(errors="replace").replace("\r\n", "\n").strip()
                    texts.setdefault(text, []).append(name)
    for text, names in texts.items():
        lines.append(f"\n{'=' * 80}\n{', '.join(dict.fromkeys(names))}\n{'=' * 80}\n\n{text}\n")
    return "".join(lines)


def manifests(out, archives):
    """Fills in the templates of package managers whose archive was made."""
    url = os.environ.get("SECRETBRIDGE_RELEASE_URL", "https://example.invalid/secretbridge")
    for target, path in archives.items():
        values = {
            "@VERSION@": VERSION,
            "@HOME@": url,
            "@URL@": f"{url.rstrip('/')}/{path.name}",
            "@SHA256@": hashlib.sha256(path.read_bytes()).hexdigest(),
            "@FOLDER@": path.name.removesuffix(".zip").removesuffix(".tar.gz"),
        }
        for template in sorted((ROOT / "scripts" / "packaging" / target).glob("*")):
            text = template.read_text()
            for name, value in values.items():
                text = text.replace(name, value)
            # winget takes the three files of a version as a folder.
            place = out / "winget" if template.suffix == ".yaml" else out
            place.mkdir(exist_ok=True)
            (place / template.name).write_text(text)


OUT, TARGETS = Path(sys.argv[1]), [target for target in sys.argv[2:] if binary(target)]
METADATA = json.loads((OUT / "metadata.json").read_text())
VERSION = next(p["version"] for p in METADATA["packages"] if p["name"] == "secretbridge")
LICENCES = licences(METADATA)

(OUT / "LICENCES.txt").write_text(LICENCES)
manifests(OUT, {target: archive(OUT, target) for target in TARGETS})
if linux := [target for target in TARGETS if "linux" in target]:
    image(OUT, linux)
