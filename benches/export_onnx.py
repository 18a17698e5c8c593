#!/usr/bin/env python3
"""Writes a classifier as ONNX, as its users would: exported by PyTorch, fused and quantised by ONNX Runtime.

usage: export_onnx.py MODEL FOLDER

MODEL is a Hugging Face folder. FOLDER receives fp32.onnx and int8.onnx: dynamic quantisation with
ONNX Runtime's own defaults. Numbers of texts and of tokens are free.
"""
import pathlib
import sys

import torch
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.transformers import optimizer
from transformers import AutoModelForSequenceClassification

INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # in the order of the model's arguments
OPSET = 17


def export(net, file):
    """Exports `net`, with two texts of nine tokens as an example."""
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    example = torch.ones(3, 2, 9, dtype=torch.long)
    torch.onnx.export(net, (), file, kwargs=dict(zip(INPUTS, example)), input_names=INPUTS, output_names=["logits"],
                      dynamic_shapes={name: {0: batch, 1: length} for name in INPUTS}, opset_version=OPSET,
                      dynamo=True, external_data=False)


def main():
    model, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    # Attention as separate operations: with "sdpa" the exporter adds checks that ONNX Runtime then computes.
    net = AutoModelForSequenceClassification.from_pretrained(model, attn_implementation="eager").eval()
    fp32 = folder / "fp32.onnx"
    export(net, fp32)
    fused = optimizer.optimize_model(str(fp32), model_type="bert", num_heads=net.config.num_attention_heads,
                                     hidden_size=net.config.hidden_size, opt_level=0)
    fused.save_model_to_file(str(fp32))
    quantize_dynamic(fp32, folder / "int8.onnx")


if __name__ == "__main__":
    main()
