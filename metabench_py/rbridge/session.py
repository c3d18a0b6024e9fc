"""The one R session of a process.

``call`` runs a function of ``r_scripts/``. R starts at the first call, in the thread that makes
it, and that thread owns it from then on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metabench_py.errors import RError, RUnavailableError
from metabench_py.rbridge.locate import (
    library_paths,
    package_folder,
    r_home,
    r_scripts_folder,
    rpy2_installed,
    setup_script,
)

_INIT_OPTIONS = (
    "metabench",
    "--quiet",
    "--no-save",
    "--no-restore",
    "--no-init-file",
    "--no-site-file",
)


_IN_DEBIAN = ("mgcv", "caret", "psych", "GPArotation")
_WITHOUT = "`reconstruct --engine native` needs no R."


class RWarning(RuntimeWarning):
    """A warning that R gave."""


class _Session:
    """R, started; its scripts sourced into an environment of their own."""

    def __init__(self) -> None:
        home = _require_home()
        # R with many BLAS threads beside our processes is slower; it reads these at its start.
        for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(variable, "1")
        os.environ["R_HOME"] = str(home)
        try:
            with _environment_kept():
                import rpy2.rinterface as ri
                from rpy2.rinterface_lib import callbacks, embedded

                embedded.set_initoptions(_INIT_OPTIONS)
                # stdout belongs to our results.
                callbacks.consolewrite_print = _discard
                callbacks.consolewrite_warnerror = _discard
                _start(ri)
        except Exception as error:
            raise RUnavailableError(
                f"R is at {home}, but rpy2 could not load it ({type(error).__name__}: {error}). "
                "Have R's headers (apt-get install r-base-dev) and reinstall it for this R: "
                "pip install --force-reinstall --no-cache-dir --no-deps rpy2-rinterface==3.6.5"
            ) from error
        self.ri = ri
        self.broken = embedded.RRuntimeError
        # The object, not its number: numbers are given again when a thread has ended.
        self.owner = threading.current_thread()
        self.pid = os.getpid()
        folder = r_scripts_folder()
        files = [path for path in sorted(folder.glob("*.R")) if path.name != "setup.R"]
        if not files:
            raise RUnavailableError(
                f"metabench-py's R functions are not in {folder}; reinstall metabench-py."
            )
        base = ri.baseenv
        # The scripts see base R and loaded packages, not the user's workspace.
        self.scripts = base["new.env"](parent=ri.globalenv)
        try:
            for path in files:
                base["sys.source"](str(path), envir=self.scripts)
            self.envelope = self.scripts["run_enveloped"]
        except (embedded.RRuntimeError, KeyError) as error:
            raise RUnavailableError(
                f"metabench-py's R functions in {folder} do not load ({error}); "
                "reinstall metabench-py."
            ) from error


# R reads these at its start. No compiling of functions that run once, and room for what the
# packages bring, or the garbage collector runs a hundred times while they load.
_START = {"R_ENABLE_JIT": "0", "R_NSIZE": "4000000", "R_VSIZE": "100M"}


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    """Keep the user's profiles out of the R processes that rpy2 starts, and undo its traces.

    rpy2 puts R's libraries on LD_LIBRARY_PATH, which does nothing for this process, but a Python
    that we start later would load the system's libpython in place of its own.
    """
    profiles = ("R_PROFILE", "R_PROFILE_USER")
    before = {name: os.environ.get(name) for name in (*profiles, *_START, "LD_LIBRARY_PATH")}
    os.environ.update(dict.fromkeys(profiles, os.devnull))
    for name in _START:
        os.environ.setdefault(name, _START[name])
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _start(ri: Any) -> None:
    handler = signal.getsignal(signal.SIGINT)
    ri.initr(interactive=False)
    # R and rpy2 put their own in its place.
    if threading.current_thread() is threading.main_thread() and handler is not None:
        signal.signal(signal.SIGINT, handler)


_session: _Session | None = None
_failure: RUnavailableError | None = None
_lock = threading.Lock()


def _discard(text: str) -> None:
    del text


def _require_home() -> Path:
    home = r_home()
    if home is not None:
        return home
    named = os.environ.get("R_HOME")
    where = f"R_HOME names {named}, where no R is" if named else "R is not installed or not on PATH"
    raise RUnavailableError(f"{where}. {install_r()}")


def install_r() -> str:
    """Say how to get R with what we need of it, where none is found."""
    if os.environ.get("R_HOME"):
        return f"Unset R_HOME, or let it name the folder that `R RHOME` prints. {_WITHOUT}"
    return (
        "On Debian or Ubuntu: apt-get install r-base-dev r-cran-mgcv libopenblas0-pthread; "
        f"elsewhere install R 4.2 or later, then run: Rscript {setup_script()}. "
        f"{_WITHOUT}"
    )


def install_package(name: str) -> str:
    """Say how to get an R package."""
    if name in _IN_DEBIAN:
        debian = f"r-cran-{name.lower()}"
        return f"On Debian or Ubuntu: apt-get install {debian}; else: Rscript {setup_script()}"
    return f"It comes from CRAN: Rscript {setup_script()}"


def _get_session() -> _Session:
    global _failure, _session
    with _lock:
        if _failure is not None:
            # R starts once in a process, or not at all.
            raise _failure
        if _session is None:
            try:
                _session = _Session()
            except RUnavailableError as error:
                _failure = error
                raise
    if _session.pid != os.getpid():
        raise _not_ours("R was started before this process was forked; spawn workers, do not fork")
    if threading.current_thread() is not _session.owner:
        raise _not_ours("R belongs to the thread that called it first; call it from there")
    return _session


def _not_ours(reason: str) -> RError:
    return RError(
        f"{reason}, or use metabench_py.rbridge.worker.run_in_worker.",
        function=None,
        r_class=None,
        r_message=None,
    )


def call(function: str, /, **arguments: Any) -> Any:
    """Run a function of ``r_scripts/`` and give its value.

    Parameters
    ----------
    function
        Name of the R function.
    **arguments
        Values by argument name, see `metabench_py.rbridge.convert.to_r`; a dot in an R argument's
        name is not possible, so ours have none.

    Returns
    -------
    Any
        Plain values, copied (see `metabench_py.rbridge.convert.from_r`), or an `RObject`.

    Raises
    ------
    RUnavailableError
        R is absent or does not load.
    RError
        R signalled an error (facts: function, r_class, r_message).
    """
    session = _get_session()
    from metabench_py.rbridge.convert import from_r, to_r

    try:
        target = session.scripts[function]
    except KeyError:
        raise RError(
            f"r_scripts has no function {function!r}.",
            function=function, r_class=None, r_message=None,
        ) from None  # fmt: skip
    try:
        outcome = session.envelope(target, to_r(arguments))
    except session.broken as error:
        # What R's own condition system does not let us catch: an interrupt, a failing handler.
        raise RError(
            f"R broke off in {function}: {str(error).strip() or 'interrupted'}",
            function=function, r_class=None, r_message=str(error).strip() or None,
        ) from error  # fmt: skip
    parts = dict(zip(outcome.do_slot("names"), outcome, strict=True))
    for text in parts["warnings"]:
        warnings.warn(f"R's {function}: {text}", RWarning, stacklevel=2)
    if not parts["ok"][0]:
        message = str(parts["message"][0]).strip()
        raise RError(
            f"R stopped in {function}: {message}",
            function=function,
            r_class=tuple(str(name) for name in parts["class"]),
            r_message=message,
        )
    return from_r(parts["value"])


def load_packages(names: Sequence[str]) -> None:
    """Start R and load these packages that it has, so that later calls need not wait for them.

    Raises
    ------
    RUnavailableError
        R is absent or does not load.
    RError
        A package does not load.
    """
    _get_session()
    for name in names:
        if package_folder(name) is not None:
            call("load_package", name=name)


def has_package(name: str) -> bool:
    """Tell whether R, rpy2 and this R package are installed.

    Looks on disk only, so it is cheap and starts no R; False once R failed to start here.
    """
    return (
        _failure is None
        and r_home() is not None
        and rpy2_installed()
        and package_folder(name) is not None
    )


def r_version() -> str:
    """R's version, for instance ``4.2.2``.

    Raises
    ------
    RUnavailableError
        R is absent or does not load.
    """
    version = _get_session().ri.baseenv["R.version"]
    parts = dict(zip(version.do_slot("names"), version, strict=True))
    return f"{parts['major'][0]}.{parts['minor'][0]}"


def require_package(name: str) -> None:
    """Raise where R lacks a package, saying how to get it.

    Raises
    ------
    RUnavailableError
        R or the package is absent.
    """
    _require_home()
    if not rpy2_installed():
        raise RUnavailableError(
            "Python's rpy2 is absent: pip install rpy2==3.6.5 rpy2-rinterface==3.6.5 "
            "(it compiles against R, so have R and its headers first)."
        )
    if package_folder(name) is None:
        looked = ", ".join(str(path) for path in library_paths())
        native = name in ("mirt", "psych", "GPArotation")
        without = ", or use the native engine" if native else ""
        raise RUnavailableError(
            f"R has no package {name!r} (looked in {looked}). {install_package(name)}{without}.",
            package=name,
        )
    if _failure is not None:
        raise _failure
