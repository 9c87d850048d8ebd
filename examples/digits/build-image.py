#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the server's container image without any container engine.

    build-image.py --server build/examples/digits/digits-server build/digits-image

makes an OCI image layout folder. The same input gives the same bytes: no time, no user, no host
name enters. Standard library only. Options write the same image as an archive as well.
"""
import argparse
import hashlib
import io
import json
import os
import pathlib
import platform
import shutil
import sys
import tarfile
import zlib

ARCHITECTURES = {   # uname -m -> OCI architecture, variant
    "x86_64": ("amd64", None), "aarch64": ("arm64", "v8"), "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"), "i686": ("386", None), "riscv64": ("riscv64", None),
    "ppc64le": ("ppc64le", None), "s390x": ("s390x", None),
}
NAME, TAG = "digits-server", "latest"
OCI = "application/vnd.oci.image."
PASSWD = b"root:x:0:0:root:/:/bin/false\nmodel:x:1000:1000:model server:/:/bin/false\n"


def make_tar(entries):
    """entries: (name, mode, bytes), or None instead of bytes for a folder. In the order given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, mode, data in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.mtime = mode, 0
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.size = len(data or b"")
            tar.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def gzip(data):
    """Not the gzip module: it writes the time, and its header differs between versions."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def to_json(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def is_static(elf):
    """Whether no program header asks for a dynamic loader (PT_INTERP)."""
    if elf[:4] != b"\x7fELF":
        return False
    wide, order = elf[4] == 2, "little" if elf[5] == 1 else "big"

    def number(at, size):
        return int.from_bytes(elf[at:at + size], order)

    table = number(32, 8) if wide else number(28, 4)
    size, count = number(54 if wide else 42, 2), number(56 if wide else 44, 2)
    return all(number(table + i * size, 4) != 3 for i in range(count))


def image_config(diff_id, machine):
    architecture, variant = ARCHITECTURES[machine]
    config = {
        "architecture": architecture, "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"User": "1000", "Entrypoint": ["/server"], "WorkingDir": "/",
                   "Env": ["PATH=/"], "ExposedPorts": {"8000/tcp": {}}, "StopSignal": "SIGTERM"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + diff_id]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "build-image.py"}],
    }
    if variant:
        config["variant"] = variant
    return config


def oci_layout(layer_tar, config, compressed):
    """The layout's files as tar entries; the folder is written from the same list."""
    layer = gzip(layer_tar) if compressed else layer_tar
    blobs = {}

    def add(media_type, data):
        blobs[sha256(data)] = data
        return {"mediaType": OCI + media_type, "digest": "sha256:" + sha256(data),
                "size": len(data)}

    manifest = {
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json",
        "config": add("config.v1+json", to_json(config)),
        "layers": [add("layer.v1.tar" + ("+gzip" if compressed else ""), layer)],
    }
    entry = add("manifest.v1+json", to_json(manifest))
    entry["platform"] = {key: config[key] for key in ("architecture", "os", "variant")
                         if key in config}
    entry["annotations"] = {"org.opencontainers.image.ref.name": TAG}
    index = {"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [entry]}
    return [("blobs", 0o755, None), ("blobs/sha256", 0o755, None),
            *((f"blobs/sha256/{digest}", 0o644, blobs[digest]) for digest in sorted(blobs)),
            ("index.json", 0o644, to_json(index)),
            ("oci-layout", 0o644, to_json({"imageLayoutVersion": "1.0.0"}))]


def docker_archive(layer_tar, config):
    config_name, layer_id = sha256(to_json(config)) + ".json", sha256(layer_tar)
    manifest = [{"Config": config_name, "RepoTags": [f"{NAME}:{TAG}"],
                 "Layers": [f"{layer_id}/layer.tar"]}]
    return make_tar([(config_name, 0o644, to_json(config)),
                     (layer_id, 0o755, None), (f"{layer_id}/layer.tar", 0o644, layer_tar),
                     ("manifest.json", 0o644, to_json(manifest))])


def write_folder(folder, entries):
    """Built beside its place and moved there, so that nobody reads half an image. Only something
    that looks like an image is ever replaced."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "oci-layout").exists():
        sys.exit(f"build-image: {folder} is not empty and not an image: not replaced")
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, _, data in entries:
        if data is None:
            (fresh / name).mkdir()
        else:
            (fresh / name).write_bytes(data)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(fresh, folder)


def write_file(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Build the digits server's container image.")
    parser.add_argument("out", nargs="?", type=pathlib.Path, metavar="OUT_DIR",
                        help="OCI image layout folder to make")
    parser.add_argument("--server", type=pathlib.Path, required=True, help="the static binary")
    parser.add_argument("--oci-archive", type=pathlib.Path, metavar="FILE.tar")
    parser.add_argument("--docker-archive", type=pathlib.Path, metavar="FILE.tar")
    parser.add_argument("--uncompressed", action="store_true", help="no gzip in the OCI forms")
    parser.add_argument("--machine", default=platform.machine(), choices=sorted(ARCHITECTURES),
                        help="as uname -m prints it (default: this machine)")
    arguments = parser.parse_args()
    if not (arguments.out or arguments.oci_archive or arguments.docker_archive):
        parser.error("nothing to write: give OUT_DIR or an archive")
    return arguments


def main():
    arguments = parse_arguments()
    server = arguments.server.read_bytes()
    if not is_static(server):
        sys.exit(f"build-image: {arguments.server} is not a static binary: "
                 "it would not start in an image that holds nothing else")
    layer = make_tar([("etc", 0o755, None), ("etc/passwd", 0o644, PASSWD),
                      ("server", 0o755, server)])
    config = image_config(sha256(layer), arguments.machine)
    entries = oci_layout(layer, config, not arguments.uncompressed)
    if arguments.out:
        write_folder(arguments.out.absolute(), entries)
    if arguments.oci_archive:
        write_file(arguments.oci_archive, make_tar(entries))
    if arguments.docker_archive:
        write_file(arguments.docker_archive, docker_archive(layer, config))


if __name__ == "__main__":
    main()
