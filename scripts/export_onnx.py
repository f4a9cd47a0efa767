#!/usr/bin/env python3
"""Writes the graph of a BERT-family folder (config.json, model.safetensors) as model.onnx in float32.

    scripts/export_onnx.py IN OUT

Everything but the weights is copied. The graph is put together by hand, since what PyTorch's exporters make of transformers'
BERT changes from version to version (torch 2.15 with transformers 5.23 gave vectors that had nothing to do with the model's).
Needs numpy, onnx, safetensors.
"""
import json
import pathlib
import shutil
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


class Graph:
    def __init__(self, weights):
        self.weights, self.nodes, self.constants, self.count = weights, [], [], 0

    def constant(self, value):
        return self.stored(np.asarray(value))

    def stored(self, array):
        self.count += 1
        name = f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, name):
        return self.stored(self.weights[name].astype(np.float32))

    def add(self, operator, *inputs, **attributes):
        self.count += 1
        name = f"t{self.count}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=f"n{self.count}", **attributes))
        return name

    def linear(self, x, name):
        kernel = self.stored(self.weights[f"{name}.weight"].astype(np.float32).T)
        return self.add("Add", self.add("MatMul", x, kernel), self.weight(f"{name}.bias"))

    def norm(self, x, name, epsilon):
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def gelu(self, x):
        inner = self.add("Erf", self.add("Div", x, self.constant(np.float32(np.sqrt(2.0)))))
        grown = self.add("Mul", x, self.add("Add", inner, self.constant(np.float32(1.0))))
        return self.add("Mul", grown, self.constant(np.float32(0.5)))


def bert(config, weights):
    graph = Graph(weights)
    width, heads, epsilon = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    assert config["hidden_act"] == "gelu", config["hidden_act"]
    tokens = graph.add("Slice", graph.add("Shape", "input_ids"), graph.constant(np.array([1])), graph.constant(np.array([2])))
    positions = graph.add("Slice", graph.weight("embeddings.position_embeddings.weight"), graph.constant(np.array([0])), tokens)
    words = graph.add("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    types = graph.add("Gather", graph.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    x = graph.add("Add", graph.add("Add", words, types), positions)
    x = graph.norm(x, "embeddings.LayerNorm", epsilon)
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = graph.add("Sub", graph.constant(np.float32(1.0)), mask)
    mask = graph.add("Mul", mask, graph.constant(np.float32(np.finfo(np.float32).min)))
    mask = graph.add("Unsqueeze", mask, graph.constant(np.array([1, 2])))
    split = graph.constant(np.array([0, 0, heads, width // heads]))
    joined = graph.constant(np.array([0, 0, width]))
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        query, key, value = (
            graph.add("Reshape", graph.linear(x, f"{at}.attention.self.{name}"), split) for name in ("query", "key", "value")
        )
        query = graph.add("Transpose", query, perm=[0, 2, 1, 3])
        key = graph.add("Transpose", key, perm=[0, 2, 3, 1])
        value = graph.add("Transpose", value, perm=[0, 2, 1, 3])
        scores = graph.add("MatMul", query, key)
        scores = graph.add("Div", scores, graph.constant(np.float32(np.sqrt(width // heads))))
        weighted = graph.add("MatMul", graph.add("Softmax", graph.add("Add", scores, mask), axis=-1), value)
        mixed = graph.add("Reshape", graph.add("Transpose", weighted, perm=[0, 2, 1, 3]), joined)
        x = graph.add("Add", graph.linear(mixed, f"{at}.attention.output.dense"), x)
        x = graph.norm(x, f"{at}.attention.output.LayerNorm", epsilon)
        grown = graph.gelu(graph.linear(x, f"{at}.intermediate.dense"))
        x = graph.add("Add", graph.linear(grown, f"{at}.output.dense"), x)
        x = graph.norm(x, f"{at}.output.LayerNorm", epsilon)
    graph.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"], name="out"))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", width])
    made = helper.make_graph(graph.nodes, "bert", inputs, [output], graph.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10, producer_name="purify")
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    source, target = map(pathlib.Path, sys.argv[1:3])
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir() if source.resolve() != target.resolve() else ():
        if path.is_dir():
            shutil.copytree(path, target / path.name, dirs_exist_ok=True)
        elif path.suffix == ".json":
            shutil.copy(path, target / path.name)
    config = json.loads((source / "config.json").read_text())
    onnx.save(bert(config, load_file(source / "model.safetensors")), target / "model.onnx")
