#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the digit models on scikit-learn's bundled data set and writes them as safetensors.

Needs Debian's python3-sklearn and python3-numpy. No network, fixed seed, one BLAS thread: on one
machine two runs write the same bytes (another BLAS may round differently in the last digit).

    /usr/bin/python3 train.py [OUT_DIR]     # default: the folder of this script

Writes releases/VERSION/model/model.safetensors, golden/ and training.csv, of which `covey baseline
build` makes baseline.yaml, and prints the held-out accuracy that belongs into `lineage: {metrics:
...}` of each release.yaml.
"""
import json
import os
import pathlib
import struct
import sys

# More BLAS threads would add up in another order from run to run. Must be set before numpy loads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

SEED = 20
FEW = 60        # training samples of 1.0.0: enough to be useful, few enough to be clearly beaten
HIDDEN = 32
HELD_OUT = 100  # samples in golden/held-out.txt
GOLDEN = {"zero": 0, "three": 3, "seven": 7}


def softmax_regression(x, y):
    model = LogisticRegression(C=1.0, max_iter=1000).fit(x[:FEW], y[:FEW])
    assert list(model.classes_) == list(range(10)), "the small sample must hold every digit"
    return {"w1": model.coef_.T, "b1": model.intercept_}


def perceptron(x, y):
    model = MLPClassifier((HIDDEN,), activation="relu", alpha=1e-3, max_iter=1000,
                          random_state=SEED).fit(x, y)
    (w1, w2), (b1, b2) = model.coefs_, model.intercepts_
    return {"w1": w1, "b1": b1, "w2": w2, "b2": b2}


def damaged(tensors):
    """The last layer's columns off by one: every number is plausible, every answer is wrong."""
    return dict(tensors, w2=np.roll(tensors["w2"], 1, axis=1), b2=np.roll(tensors["b2"], 1))


def scores(tensors, x):
    """What the server computes, in the same precision."""
    t = {name: values.astype(np.float32) for name, values in tensors.items()}
    out = x.astype(np.float32) @ t["w1"] + t["b1"]
    if "w2" in t:
        out = np.maximum(out, 0) @ t["w2"] + t["b2"]
    e = np.exp(out - out.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def accuracy(tensors, x, y):
    return float((scores(tensors, x).argmax(axis=1) == y).mean())


def write_safetensors(path, tensors):
    header, blobs, offset = {}, [], 0
    for name in sorted(tensors):
        blob = np.ascontiguousarray(tensors[name], dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)     # the format asks for tensors that start at a multiple of 8
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def body(pixels):
    return json.dumps({"pixels": [int(p) for p in pixels]}, separators=(",", ":")) + "\n"


def write_golden(folder, good, x, y):
    """Held-out digits that every sound version gets right, and is sure of, become smoke tests."""
    folder.mkdir(parents=True, exist_ok=True)
    sure = np.minimum.reduce([scores(tensors, x)[np.arange(len(y)), y] for tensors in good])
    for name, digit in GOLDEN.items():
        index = int(np.where(y == digit, sure, -1).argmax())
        (folder / f"{name}.json").write_text(body(x[index] * 16))
        (folder / f"{name}.expected.json").write_text(json.dumps({"label": digit}) + "\n")
    lines = [f"{y[i]} {body(x[i] * 16)}" for i in range(HELD_OUT)]
    (folder / "held-out.txt").write_text("".join(lines))


def write_training(path, tensors, x):
    """What the server observes of each image, as `covey baseline build` takes it."""
    images, share = x.reshape(-1, 8, 8), scores(tensors, x)
    ink = images.sum(axis=(1, 2))
    top = images[:, :4].sum(axis=(1, 2)) / ink
    border = 1 - images[:, 1:7, 1:7].sum(axis=(1, 2)) / ink
    rows = zip(ink / 64, top, border, share.argmax(axis=1), share.max(axis=1))
    lines = [f"{i:.7g},{t:.7g},{abs(b):.7g},{c},{s:.7g}\n" for i, t, b, c, s in rows]
    path.write_text("ink,top,border,class,score\n" + "".join(lines))


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    digits = load_digits()
    x, x_test, y, y_test = train_test_split(digits.data / 16.0, digits.target, test_size=0.3,
                                            random_state=SEED, stratify=digits.target)
    first, second = softmax_regression(x, y), perceptron(x, y)
    versions = {"1.0.0": first, "2.0.0": second, "2.1.0": second, "2.2.0": second,
                "3.0.0": damaged(second), "3.1.0": second}
    for version, tensors in versions.items():
        write_safetensors(out / "releases" / version / "model" / "model.safetensors", tensors)
        print(f"digits@{version}: held-out accuracy {accuracy(tensors, x_test, y_test):.3f},"
              f" first {HELD_OUT}: {accuracy(tensors, x_test[:HELD_OUT], y_test[:HELD_OUT]):.2f}")
    write_golden(out / "golden", [first, second], x_test, y_test)
    write_training(out / "training.csv", second, digits.data / 16.0)


if __name__ == "__main__":
    main()
