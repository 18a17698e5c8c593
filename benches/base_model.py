#!/usr/bin/env python3
"""Writes a BERT-base-sized model of random weights: 12 layers of 768.

usage: base_model.py CHECKPOINT FOLDER

Vocabulary and tokenizer files are CHECKPOINT's. The same numbers every time.
"""
import json
import pathlib
import shutil
import sys

import torch
from transformers import BertConfig, BertModel

TOKENIZER_FILES = ("vocab.txt", "tokenizer.json", "tokenizer_config.json")


def main():
    source, folder = map(pathlib.Path, sys.argv[1:])
    vocabulary = json.loads((source / "config.json").read_text())["vocab_size"]
    torch.manual_seed(0)
    config = BertConfig(vocab_size=vocabulary, hidden_size=768, num_hidden_layers=12,
                        num_attention_heads=12, intermediate_size=3072)
    BertModel(config).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copy(source / name, folder / name)


if __name__ == "__main__":
    main()
