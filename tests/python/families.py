#!/usr/bin/env python3
"""Makes a small untrained checkpoint of every kind of encoder, for a run with --from-scratch.

    python families.py SENTENCES.tsv OUT

SENTENCES.tsv has texts, with tabs between several. OUT/KIND receives config.json and a tokenizer of that
kind, learnt from the texts and saved by transformers: roberta (byte-level BPE, as vocab.json and
merges.txt too), xlm-roberta and camembert (Unigram), distilbert and electra (WordPiece).
"""
import pathlib
import sys

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CamembertConfig, CamembertTokenizer, DistilBertConfig, DistilBertTokenizer, ElectraConfig, ElectraTokenizer,
    RobertaConfig, RobertaTokenizer, XLMRobertaConfig, XLMRobertaTokenizer)

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64}
AFTER_PADDING = {**SIZES, "type_vocab_size": 1, "max_position_embeddings": 66, "layer_norm_eps": 1e-5, "pad_token_id": 1}
ROBERTA_MARKS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BERT_MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def byte_level(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=ROBERTA_MARKS, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def unigram(texts):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=ROBERTA_MARKS, unk_token="<unk>")
    tokenizer.train_from_iterator(texts, trainer)
    pair = "<s> $A </s> </s> $B </s>"
    marks = [(mark, tokenizer.token_to_id(mark)) for mark in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair=pair, special_tokens=marks)
    return tokenizer


def word_piece(texts, out):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=300, special_tokens=BERT_MARKS))
    out.mkdir(parents=True)
    tokenizer.model.save(str(out))
    return tokenizer.get_vocab_size()


def main():
    sentences, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    texts = [text for line in sentences.read_text(encoding="utf-8").splitlines() for text in line.split("\t")]

    folder = out / "roberta"
    folder.mkdir(parents=True)
    tokenizer = byte_level(texts)
    tokenizer.model.save(str(folder))
    RobertaTokenizer.from_pretrained(folder).save_pretrained(folder)
    RobertaConfig(vocab_size=tokenizer.get_vocab_size(), **AFTER_PADDING).save_pretrained(folder)

    for kind, tokenizer_class, config_class in [
        ("xlm-roberta", XLMRobertaTokenizer, XLMRobertaConfig),
        ("camembert", CamembertTokenizer, CamembertConfig),
    ]:
        tokenizer = unigram(texts)
        folder = out / kind
        folder.mkdir()
        tokenizer.save(str(folder / "tokenizer.json"))
        tokenizer_class.from_pretrained(folder).save_pretrained(folder)
        config_class(vocab_size=tokenizer.get_vocab_size(), **AFTER_PADDING).save_pretrained(folder)

    for kind, tokenizer_class, config_class, sizes in [
        ("distilbert", DistilBertTokenizer, DistilBertConfig, DISTIL),
        ("electra", ElectraTokenizer, ElectraConfig,
         {**SIZES, "embedding_size": 16, "type_vocab_size": 2, "max_position_embeddings": 64}),
    ]:
        folder = out / kind
        size = word_piece(texts, folder)
        tokenizer_class.from_pretrained(folder).save_pretrained(folder)
        config_class(vocab_size=size, **sizes).save_pretrained(folder)


if __name__ == "__main__":
    main()
