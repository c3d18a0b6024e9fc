"""Deterministic language models for lm-eval, without torch.

Not imported by the tests: lm-eval's process does (``evaluate --import``). ``perfect`` knows every
item by what an item's own text says is right, ``hashing`` answers by a hash of what it is asked,
``broken`` gives NaN.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model


class _Fake(LM):
    def __init__(self, pretrained: str = "fake", slow: float = 0.0, calls: str = "") -> None:
        super().__init__()
        self.pretrained = pretrained
        self.slow = float(slow)
        self.calls = calls

    @classmethod
    def create_from_arg_obj(cls, arg_dict: dict[str, Any], additional_config: Any = None) -> Any:
        return cls(**arg_dict)

    def _note(self, request: Instance) -> None:
        """Keep a list of what was asked, across processes."""
        if self.slow:
            time.sleep(self.slow)
        if self.calls:
            text = f"{request.task_name} {request.doc_id} {request.idx}\n"
            with Path(self.calls).open("a") as stream:
                stream.write(text)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Any]:
        answers = []
        for request in requests:
            self._note(request)
            answer = self.likelihood(request)
            answers.append(answer)
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
        return answers

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        answers = []
        for request in requests:
            self._note(request)
            answer = self.text(request)
            answers.append(answer)
            self.cache_hook.add_partial("generate_until", request.args, answer)
        return answers

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[Any]:
        raise NotImplementedError

    def likelihood(self, request: Instance) -> tuple[float, bool]:
        raise NotImplementedError

    def text(self, request: Instance) -> str:
        raise NotImplementedError


def _number(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


@register_model("fake-hashing")
class Hashing(_Fake):
    """Half right, by a hash of the question and the model's name."""

    def likelihood(self, request: Instance) -> tuple[float, bool]:
        value = _number(self.pretrained + "".join(map(str, request.args)))
        return -10.0 * value, value < 0.1

    def text(self, request: Instance) -> str:
        if _number(self.pretrained + str(request.args[0])) < 0.5:
            return str(request.doc["answer"])
        return "I do not know.\n#### 1"


@register_model("fake-perfect")
class Perfect(_Fake):
    """Knows the right answer of the document that it is asked about, by text, not by place."""

    def likelihood(self, request: Instance) -> tuple[float, bool]:
        right = self._right(request)
        return (-1.0 if right else -1000.0), right

    def text(self, request: Instance) -> str:
        return str(request.doc["answer"])

    def _right(self, request: Instance) -> bool:
        doc, (context, continuation) = request.doc, request.args
        task = str(request.task_name)
        if "winogrande" in task:
            option = doc["option1"] if doc["answer"] == "1" else doc["option2"]
            blank = doc["sentence"].index("_")
            return bool(context.rstrip() == (doc["sentence"][:blank] + option).rstrip())
        said = continuation.strip()
        if "mmlu" in task:
            return bool(said == "ABCD"[doc["answer"]])
        if "arc" in task:
            place = doc["choices"]["label"].index(doc["answerKey"])
            return bool(said == doc["choices"]["text"][place].strip())
        if "hellaswag" in task:
            return bool(said == doc["choices"][int(doc["label"])].strip())
        if "truthfulqa" in task:
            place = doc["mc1_targets"]["labels"].index(1)
            return bool(said == doc["mc1_targets"]["choices"][place].strip())
        raise AssertionError(json.dumps(doc)[:200])


@register_model("fake-broken")
class Broken(Hashing):
    """A model whose weights have overflowed."""

    def likelihood(self, request: Instance) -> tuple[float, bool]:
        return math.nan, False


@register_model("fake-crashing")
class Crashing(Hashing):
    """Fails, or kills its own process, after some requests."""

    def likelihood(self, request: Instance) -> tuple[float, bool]:
        if request.doc_id == 20:
            if os.environ.get("FAKE_KILL"):
                os.kill(os.getpid(), 9)
            raise ValueError("the weights\nmelted")
        return super().likelihood(request)
