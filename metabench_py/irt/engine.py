"""What an IRT engine does, and how to get one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from numpy.typing import ArrayLike

from metabench_py.benchmarks import EngineName, FitMode, ItemType, ScoreMethod
from metabench_py.irt.model import Floats, ItemParameters
from metabench_py.responses import ResponseMatrix


@dataclass(frozen=True)
class FitOptions:
    """How to fit.

    Attributes
    ----------
    mode
        ``mirt-path`` follows mirt's EM cycle by cycle (R's mirt itself always does);
        ``converged`` maximises the marginal likelihood to a true optimum.
    tolerance
        Stop when no parameter moves more (mirt's TOL); ``converged`` stops when no derivative of
        the log-likelihood per LLM is above a thousandth of it.
    max_cycles
        Cycles at most (mirt's NCYCLES); iterations at most for ``converged``.
    """

    mode: FitMode = "mirt-path"
    tolerance: float = 1e-4
    max_cycles: int = 1000


@dataclass(frozen=True, eq=False)
class IrtFit:
    """A fitted model.

    Attributes
    ----------
    log_likelihood
        Marginal log-likelihood of the responses.
    iterations
        EM cycles (or optimiser iterations).
    gradient_norm
        Largest absolute derivative of the marginal log-likelihood per LLM; None if not known.
    messages
        What the user should know: false stops, bounded slopes.
    """

    parameters: ItemParameters
    item_type: ItemType
    log_likelihood: float
    iterations: int
    converged: bool
    seconds: float
    engine: str
    engine_version: str
    mode: FitMode
    gradient_norm: float | None = None
    messages: tuple[str, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class Abilities:
    """Estimated abilities; theta and se have shape (n_llms,), in standard deviations of the prior.

    An infinite ML estimate has an infinite se; an LLM without any answer has the prior's
    mean and sd under MAP, EAP and EAPsum, and NaN under ML and WLE.
    """

    theta: Floats
    se: Floats
    method: ScoreMethod
    engine: str


@dataclass(frozen=True, eq=False)
class ItemFit:
    """How well each item follows the model; arrays have shape (n_items,).

    Attributes
    ----------
    outfit, infit
        Mean squared standardised residual, unweighted and information-weighted; 1 is expected
        (Wright & Masters 1982), 0.5 to 1.5 is usual.
    z_outfit, z_infit
        The same as standard normal deviates.

    Notes
    -----
    NaN where the answers do not determine it: for an item that nobody answered.
    """

    items: tuple[str, ...]
    outfit: Floats
    z_outfit: Floats
    infit: Floats
    z_infit: Floats


class Engine(Protocol):
    """Fits item parameters and scores LLMs. Prior N(0, 1), 61 nodes on [-6, 6]."""

    @property
    def name(self) -> str:
        """``mirt`` or ``native``."""

    @property
    def version(self) -> str:
        """Version of the software that computes."""

    def fit(
        self, responses: ResponseMatrix, item_type: ItemType, options: FitOptions | None = None
    ) -> IrtFit:
        """Estimate item parameters by marginal maximum likelihood."""

    def score(
        self, responses: ResponseMatrix, parameters: ItemParameters, method: ScoreMethod
    ) -> Abilities:
        """Estimate abilities; columns are matched to `parameters` by item id."""

    def information(self, parameters: ItemParameters, theta: ArrayLike) -> Floats:
        """Item information, shape (n_theta, n_items)."""

    def item_fit(
        self, responses: ResponseMatrix, parameters: ItemParameters, theta: ArrayLike
    ) -> ItemFit:
        """Infit and outfit of every item at given abilities."""


def get_engine(name: EngineName = "auto") -> Engine:
    """Give an engine; ``auto`` takes R's mirt where R has it, else ours.

    Raises
    ------
    RUnavailableError
        ``mirt`` was asked for by name and R or mirt is absent.
    """
    from metabench_py import rbridge

    if name == "mirt" or (name == "auto" and rbridge.has_package("mirt")):
        from metabench_py.irt.mirt import MirtEngine

        return MirtEngine()
    from metabench_py.irt.native import NativeEngine

    return NativeEngine()
