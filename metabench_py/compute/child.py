"""What a worker process of the local pool does."""

from __future__ import annotations

import os
import pickle
import queue
import threading
from typing import BinaryIO

from metabench_py.compute.calls import Outcome, noted, pack_outcome, run_call


def serve() -> None:
    """Do calls from stdin until it closes, which is when the pool's process ends or dies."""
    tasks = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # Nothing that R or a library prints may get between the answers.
    os.dup2(2, 1)
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks, waiting), daemon=True).start()
    # Calls run in the main thread, which R likes best.
    while True:
        answer = pack_outcome(_outcome(waiting.get()))
        try:
            answers.write(len(answer).to_bytes(8, "little"))
            answers.write(answer)
            answers.flush()
        except BrokenPipeError:
            os._exit(1)


def _outcome(payload: bytes) -> Outcome:
    try:
        call = pickle.loads(payload)
    except Exception as error:  # noqa: BLE001 - unpickling imports modules, which raise anything
        return Outcome(error=noted(error))
    return run_call(call)


def _listen(tasks: BinaryIO, waiting: queue.SimpleQueue[bytes]) -> None:
    while len(size := tasks.read(8)) == 8:
        wanted = int.from_bytes(size, "little")
        payload = tasks.read(wanted)
        if len(payload) < wanted:
            break
        waiting.put(payload)
    # At once, whatever the main thread does: nobody waits for it. R's clean-up is not needed.
    os._exit(0)
