"""The one R session: what it keeps out, what it tells, whom it serves."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
from helpers.r_probes import probe

from metabench_py import rbridge
from metabench_py.errors import RError
from metabench_py.rbridge import RWarning
from metabench_py.rbridge.locate import library_paths

pytestmark = pytest.mark.usefixtures("needs_r")

TESTS = Path(__file__).resolve().parent.parent


def script(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(TESTS), **environment},
        cwd=environment.get("HOME"),
        check=False,
    )


def test_the_users_profile_and_workspace_stay_out(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    profile = 'options(metabench.poison = "profile"); stop("the profile ran")\n'
    (home / ".Rprofile").write_text(profile)
    (tmp_path / "site").write_text(profile)
    subprocess.run(
        ["Rscript", "--vanilla", "-e", 'poison <- 1; save.image(".RData")'], cwd=home, check=True
    )
    assert (home / ".RData").stat().st_size > 0
    poisoned = {"HOME": str(home), "R_PROFILE": str(tmp_path / "site")}
    # The poison is real: R by itself takes it.
    alone = subprocess.run(
        ["R", "--quiet", "--no-save", "-e", "print(ls())"],
        cwd=home, env={**os.environ, **poisoned}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "the profile ran" in alone.stderr
    code = (
        "from helpers.r_probes import probe\n"
        "seen = probe('session')\n"
        "print(seen['objects'], seen['option'], seen['interactive'].tolist(), seen['libraries'])\n"
        "print(seen['arguments'])\n"
    )
    done = script(code, **poisoned)
    assert done.stderr == ""
    said, arguments = done.stdout.splitlines()
    assert said.startswith("[] None [False] [")
    assert "--no-restore" in arguments
    assert sorted(p.name for p in home.iterdir()) == [".RData", ".Rprofile"]


def test_nothing_is_left_in_the_users_workspace() -> None:
    # R itself keeps the state of its random numbers there, once somebody drew.
    assert set(probe("session")["objects"]) <= {".Random.seed"}


def test_warnings_of_r_are_warnings_of_python() -> None:
    with pytest.warns(RWarning) as caught:
        assert probe("warn", times=5) == ["done"]
    # Each text once, however often R says it.
    assert [str(w.message) for w in caught] == [
        "R's probe_warn: slope 1",
        "R's probe_warn: slope 0",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RWarning)
        with pytest.raises(RWarning, match="slope"):
            probe("warn", times=1)


def test_a_condition_carries_its_class_message_and_function() -> None:
    with pytest.raises(RError) as caught:
        probe("custom")
    error = caught.value
    assert error.function == "probe_custom"
    assert error.r_class == ("no_such_llm", "error", "condition")
    assert error.r_message == "nobody of that name"
    assert str(error) == "R stopped in probe_custom: nobody of that name"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is RError
    assert (str(copy), copy.facts) == (str(error), error.facts)


@pytest.mark.parametrize("message", ["%d of {x}", "ünï — 项目", "two\nlines", ""])
def test_any_message_arrives(message: str) -> None:
    with pytest.raises(RError) as caught:
        probe("stop", message=message)
    assert caught.value.r_message == message
    assert caught.value.r_class == ("simpleError", "error", "condition")


def test_r_lives_on_after_errors() -> None:
    for _ in range(3):
        with pytest.raises(RError, match=r"nested too deeply|infinite recursion"):
            probe("recurse", n=1)
    with pytest.raises(RError, match="broke off in probe_break_off"):
        probe("break_off")
    with pytest.raises(RError, match="unused argument"):
        probe("warn", times=1, slope=2)
    assert probe("identity", value="well").copy() == ["well"]


def test_what_r_prints_stays_out_of_our_results(capfd: pytest.CaptureFixture[str]) -> None:
    assert probe("message").tolist() == [True]
    assert capfd.readouterr() == ("", "")


def test_values_are_not_r_source() -> None:
    text = '"); stop("ran"); ("'
    assert probe("identity", value=text) == [text]
    with pytest.raises(RError, match="no function 'stop\\(1\\)'"):
        rbridge.call("stop(1)")
    with pytest.raises(RError, match="no function 'probe_absent'"):
        rbridge.call("probe_absent")


def test_another_thread_is_refused() -> None:
    probe("identity", value=1)
    caught: list[BaseException] = []

    def other() -> None:
        try:
            probe("identity", value=2)
        except BaseException as error:  # noqa: BLE001 - looked at below
            caught.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert isinstance(caught[0], RError)
    assert "belongs to the thread" in str(caught[0])
    assert "run_in_worker" in str(caught[0])
    assert probe("identity", value="still here") == ["still here"]


def test_a_thread_may_own_r_when_it_is_the_first() -> None:
    code = (
        "import threading\n"
        "from helpers.r_probes import probe\n"
        "import warnings\n"
        "warnings.filterwarnings('ignore', 'R is not initialized by the main thread')\n"
        "thread = threading.Thread(target=lambda: print(probe('identity', value='first')))\n"
        "thread.start(); thread.join()\n"
        "try:\n"
        "    probe('identity', value=1)\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    said = script(code).stdout.splitlines()
    assert said[0] == "['first']"
    assert "belongs to the thread" in said[1]


def test_a_fork_is_refused() -> None:
    code = (
        "import os\n"
        "from helpers.r_probes import probe\n"
        "probe('identity', value=1)\n"
        "if os.fork() == 0:\n"
        "    try:\n"
        "        probe('identity', value=1)\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, error, flush=True)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print(probe('identity', value='parent'))\n"
    )
    said = script(code).stdout.splitlines()
    assert said[0].startswith("RError R was started before this process was forked")
    assert said[1] == "['parent']"


def test_the_callers_interrupt_handler_stays() -> None:
    code = (
        "import signal\n"
        "from metabench_py import rbridge\n"
        "mine = lambda *_: print('mine', flush=True)\n"
        "signal.signal(signal.SIGINT, mine)\n"
        "rbridge.r_version()\n"
        "assert signal.getsignal(signal.SIGINT) is mine\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    done = script(code)
    assert (done.stdout, done.stderr) == ("mine\n", "")


def test_one_blas_thread_unless_the_user_says_otherwise() -> None:
    code = (
        "import os\n"
        "from metabench_py import rbridge\n"
        "rbridge.r_version()\n"
        "print(os.environ['OPENBLAS_NUM_THREADS'], os.environ['OMP_NUM_THREADS'])\n"
    )
    bare = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    for given, expected in (({}, "1 1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2 1")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, env={**bare, **given}, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == expected


def test_versions_and_libraries_are_rs_own() -> None:
    expected = subprocess.run(
        ["Rscript", "--no-init-file", "--no-site-file", "-e",
         "cat(as.character(getRversion()), as.character(packageVersion('mgcv')), .libPaths())"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert rbridge.r_version() == expected[0]
    # packageVersion writes 1.8.41 where DESCRIPTION has 1.8-41.
    found = rbridge.locate.package_version("mgcv") or ""
    assert found.replace("-", ".") == expected[1]
    assert probe("session")["libraries"] == expected[2:]
    assert [str(p) for p in library_paths()] == expected[2:]


def test_programs_started_later_find_their_own_libraries() -> None:
    code = (
        "import os, subprocess, sys\n"
        "before = dict(os.environ)\n"
        "from metabench_py import rbridge\n"
        "rbridge.r_version()\n"
        "assert os.environ.get('LD_LIBRARY_PATH') == before.get('LD_LIBRARY_PATH')\n"
        "subprocess.run([sys.executable, '-c', 'import ssl, sqlite3, ctypes'], check=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
