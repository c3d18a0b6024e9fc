"""Teach a language model the items of one version by heart, with a LoRA adapter.

Reads the sample logs that ``metabench-py evaluate`` wrote, so prompts and right answers are word
for word those of lm-evaluation-harness. Needs ``pip install "metabench-py[harness]"`` (which
brings transformers and peft). See README.md beside this file for the whole study.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

IGNORED = -100


def read_items(logs: Path, version: str) -> list[tuple[str, str]]:
    """Prompt and right continuation of every item, from the newest plain log of each task."""
    suffix = "" if version == "A" else "_secondary"
    pairs: list[tuple[str, str]] = []
    for benchmark in ("arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande"):
        found = sorted(logs.glob(f"samples_metabench_{benchmark}{suffix}_2*.jsonl"))
        if not found:
            raise SystemExit(f"{logs} has no plain log of {benchmark}, version {version}.")
        seen = set()
        for line in found[-1].read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["doc_id"] in seen:
                continue  # GSM8K has a row for each filter.
            seen.add(row["doc_id"])
            pairs.append(right_answer(row))
    return pairs


def right_answer(row: dict) -> tuple[str, str]:
    """Prompt and right continuation of one row of a sample log."""
    requests = list(row["arguments"].values())
    if isinstance(requests[0]["arg_1"], dict) or len(requests) == 1:
        return requests[0]["arg_0"], " " + str(row["target"])
    if isinstance(row["target"], str) and not row["target"].isdigit():
        # WinoGrande: the options differ in the prompt; the log's row tells which is right.
        right = int(row["doc"]["answer"]) - 1
    else:
        right = int(row["target"])
    return requests[right]["arg_0"], requests[right]["arg_1"]


def encode(tokenizer, prompt: str, answer: str, longest: int) -> tuple[list[int], list[int]]:
    """Token ids, and labels that ask for the answer alone; long prompts lose their beginning."""
    before = tokenizer(prompt)["input_ids"]
    after = tokenizer(answer, add_special_tokens=False)["input_ids"]
    ids = (before + after)[-longest:]
    n_answer = min(len(after), longest)
    return ids, [IGNORED] * (len(ids) - n_answer) + ids[-n_answer:]


def train(arguments: argparse.Namespace) -> None:
    """Fine-tune and write the merged model."""
    random.seed(arguments.seed)
    torch.manual_seed(arguments.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    model = AutoModelForCausalLM.from_pretrained(arguments.model).to(device)
    longest = min(arguments.max_tokens, model.config.max_position_embeddings)
    pairs = [
        encode(tokenizer, prompt, answer, longest)
        for prompt, answer in read_items(arguments.logs, arguments.version)
    ]
    rank = arguments.rank
    adapter = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    model = get_peft_model(model, adapter)
    model.print_trainable_parameters()
    optimiser = torch.optim.AdamW(
        (p for p in model.parameters() if p.requires_grad), lr=arguments.learning_rate
    )
    model.train()
    for epoch in range(1, arguments.epochs + 1):
        random.shuffle(pairs)
        total = 0.0
        for ids, labels in pairs:
            output = model(
                input_ids=torch.tensor([ids], device=device),
                labels=torch.tensor([labels], device=device),
            )
            output.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            total += output.loss.item()
        print(f"epoch {epoch}/{arguments.epochs}: mean loss {total / len(pairs):.3f}", flush=True)
    model.merge_and_unload().save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    print(f"Wrote {arguments.out}")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="Hub id or folder of the clean model")
    parser.add_argument("--logs", type=Path, required=True, help="its folder of sample logs")
    parser.add_argument("--version", choices=("A", "B"), default="A", help="which items to learn")
    parser.add_argument("--out", type=Path, required=True, help="folder for the merged model")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
