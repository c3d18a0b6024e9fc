"""The one R session of a process.

``call`` runs a function of ``r_scripts/``. R starts at the first call, in the thread that makes
it, and that thread owns it from then on.
"""

from __future__ import annotations

import os
import threading
import warnings
from typing import Any

from metabench_py.errors import RError, RUnavailableError
from metabench_py.rbridge.locate import package_folder, r_home, r_scripts_folder

_CURE = (
    "On Debian or Ubuntu: apt-get install r-base-core r-cran-mgcv libopenblas0-pthread; "
    "elsewhere install R 4.2 or later, then run: Rscript setup.R"
)
_INIT_OPTIONS = (
    "metabench", "--quiet", "--no-save", "--no-restore", "--no-init-file", "--no-site-file",
)  # fmt: skip


class RWarning(RuntimeWarning):
    """A warning that R gave."""


class _Session:
    """R, started; its scripts sourced into an environment of their own."""

    def __init__(self) -> None:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        home = r_home()
        if home is None:
            raise RUnavailableError(f"R is not installed, or not on the PATH. {_CURE}")
        os.environ.setdefault("R_HOME", str(home))
        try:
            import rpy2.rinterface as ri
            from rpy2.rinterface_lib import callbacks, embedded

            embedded.set_initoptions(_INIT_OPTIONS)
            # stdout belongs to our results.
            callbacks.consolewrite_print = _discard
            callbacks.consolewrite_warnerror = _discard
            ri.initr(interactive=False)
        except Exception as error:  # noqa: BLE001 (rpy2 fails in many ways where R does not fit)
            raise RUnavailableError(
                f"R is at {home}, but rpy2 could not load it ({type(error).__name__}: {error}). "
                "Reinstall with the pinned rpy2-rinterface; `metabench-py doctor` says more."
            ) from error
        self.ri = ri
        self.owner = threading.get_ident()
        base = ri.baseenv
        # The scripts see base R and loaded packages, not the user's workspace.
        self.scripts = base["new.env"](parent=ri.globalenv)
        for path in sorted(r_scripts_folder().glob("*.R")):
            if path.name != "setup.R":
                base["sys.source"](str(path), envir=self.scripts)
        self.envelope = self.scripts["run_enveloped"]


_session: _Session | None = None
_lock = threading.Lock()


def _discard(text: str) -> None:
    del text


def _get_session() -> _Session:
    global _session
    with _lock:
        if _session is None:
            _session = _Session()
    if threading.get_ident() != _session.owner:
        raise RError(
            "R belongs to the thread that started it; call it from there, or use "
            "metabench_py.rbridge.worker for work beside it.",
            function=None,
            r_class=None,
            r_message=None,
        )
    return _session


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
    outcome = session.envelope(target, to_r(arguments))
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


def has_package(name: str) -> bool:
    """Tell whether R and this package are installed; starts no R in this process."""
    return r_home() is not None and package_folder(name) is not None


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
    if r_home() is None:
        raise RUnavailableError(f"R is not installed, or not on the PATH. {_CURE}")
    if not has_package(name):
        cure = (
            "It comes from CRAN: run `Rscript setup.R`, or use --engine native."
            if name == "mirt"
            else f"On Debian or Ubuntu: apt-get install r-cran-{name.lower()}; elsewhere: Rscript setup.R"
        )
        raise RUnavailableError(f"R has no package {name!r}. {cure}", package=name)
