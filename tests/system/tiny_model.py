"""A real, if ignorant, language model: under a million random weights and its own tokenizer."""

from __future__ import annotations

from pathlib import Path


def save_tiny_model(folder: Path, items: Path) -> Path:
    """Write a Llama of two narrow layers that transformers loads from ``folder``.

    The tokenizer is a byte-level BPE, so it takes any text, with the words of the prompts in the
    Parquet files of ``items``, so that prompts are short; the weights come from a fixed seed.
    """
    import pandas as pd
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    texts: list[str] = []
    for path in sorted(items.glob("*.parquet")):
        table = pd.read_parquet(path)
        texts += [
            text for name in table if name.endswith("longprompt") for text in table[name].unique()
        ]
    bpe.train_from_iterator(texts, vocab_size=6000, special_tokens=["<|end|>"])
    PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, eos_token="<|end|>", pad_token="<|end|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=bpe.get_vocab_size(),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=1024,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )
    ).save_pretrained(folder)
    for file in folder.iterdir():
        # Weights are written for their owner alone; a container's user is another.
        file.chmod(0o644)
    return folder
