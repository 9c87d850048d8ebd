#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a network on scikit-learn's digits, then goes on training it on half of them with a smaller
step. Writes both states as safetensors of bfloat16 and of float32: before.bf16, after.bf16, ..."""
import json
import os
import struct
import sys
import warnings

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy looks
import numpy
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier


def bf16(x):
    bits = numpy.ascontiguousarray(x, dtype=numpy.float32).view(numpy.uint32).astype(numpy.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def save(path, tensors, kind):
    head, data, at = {}, b"", 0
    for name, tensor in tensors:
        raw = (bf16(tensor) if kind == "BF16" else tensor.astype(numpy.float32)).tobytes()
        head[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        data, at = data + raw, at + len(raw)
    text = json.dumps(head).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def tensors(model):
    weights = [(f"layers.{i}.weight", w) for i, w in enumerate(model.coefs_)]
    return weights + [(f"layers.{i}.bias", b) for i, b in enumerate(model.intercepts_)]


def main(folder):
    warnings.simplefilter("ignore")
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(numpy.float32)
    model = MLPClassifier((1024, 1024, 512), random_state=1, max_iter=4, learning_rate_init=1e-3)
    model.fit(x, y)
    for kind in "BF16", "F32":
        save(f"{folder}/before.{kind.lower()}", tensors(model), kind)
    before = bf16(numpy.concatenate([t.ravel() for _, t in tensors(model)]))
    model._optimizer.learning_rate_init = model._optimizer.learning_rate = 1e-5
    for _ in range(2):
        model.partial_fit(x[::2], y[::2])
    for kind in "BF16", "F32":
        save(f"{folder}/after.{kind.lower()}", tensors(model), kind)
    after = bf16(numpy.concatenate([t.ravel() for _, t in tensors(model)]))
    print(f"{before.size} weights, {100 * (before != after).mean():.1f} % of them changed as "
          f"bfloat16, {100 * model.score(x, y):.1f} % of the digits right")


main(sys.argv[1])
