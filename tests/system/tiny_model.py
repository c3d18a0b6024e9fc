"""A real, if ignorant, language model: 0.1 million random weights and its own tokenizer."""

from __future__ import annotations

from pathlib import Path

_TEXT = (
    "Question: Natalia sold clips to 48 of her friends. How many clips did she sell altogether?",
    "Answer: She sold 48 / 2 = 24 clips in May and 48 + 24 = 72 clips altogether. #### 72",
    "The following are multiple choice questions (with answers) about the history of science.",
    "Q: What happens if you crack your knuckles a lot? A. B. C. D. Nothing in particular happens.",
)


def save_tiny_model(folder: Path) -> Path:
    """Write a Llama of two narrow layers that transformers loads from ``folder``.

    The tokenizer is a byte-level BPE, so it takes any text; the weights come from a fixed seed.
    """
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(_TEXT, vocab_size=600, special_tokens=["<|end|>"])
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
