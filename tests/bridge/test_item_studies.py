"""What R computes of the studies of items: glm, density, kmeans, lm by backward steps."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.golden_subsample import benchmark_data

from metabench_py.analysis.answer_pruning import prune
from metabench_py.analysis.cluster_choice import parameter_points
from metabench_py.analysis.kernel_density import bandwidth, density
from metabench_py.analysis.kmeans import kmeans
from metabench_py.analysis.logistic_fit import fit_curves, fit_logistic
from metabench_py.analysis.score_posterior import ScorePosterior
from metabench_py.bundle import load_bundle

pytestmark = pytest.mark.usefixtures("needs_r")

# Item by item on the score, a posterior over 1024 scores, its mode: the original's logistic step.
LOGISTIC = """
d <- as.matrix(read.csv("answers.csv")); s <- scan("score.txt", quiet = TRUE)
b <- t(apply(d, 2, function(y) coef(glm(y ~ s, family = binomial(link = "logit")))))
x <- seq(0, 100, length.out = 1024)
prior <- density(s, n = 1024, from = 0, to = 100)
f <- plogis(sweep(outer(x, b[, 2]), 2, b[, 1], "+"))
g <- function(p) ifelse(p < 1e-16, -37.6, log(p))
l <- d %*% t(g(f)) + (1 - d) %*% t(g(1 - f))
l <- sweep(l, 2, log(prior$y), "+")
write.csv(b, "curves.csv", row.names = FALSE)
write.csv(data.frame(x = prior$x, y = prior$y, bw = prior$bw), "density.csv", row.names = FALSE)
write.csv(data.frame(mode = x[apply(l, 1, which.max)]), "mode.csv", row.names = FALSE)
m <- glm(V1 ~ ., data = data.frame(setNames(as.data.frame(d[, 1:9]), paste0("V", 1:9))),
         family = binomial)
write.csv(data.frame(b = coef(m)), "several.csv", row.names = FALSE)
"""


def run_r(code: str, folder: Path) -> None:
    subprocess.run(
        ["Rscript", "--vanilla", "-e", "options(digits = 17)", "-e", code],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip


def test_logistic_scoring_as_in_r(golden: Path, tmp_path: Path) -> None:
    data = benchmark_data(golden, "arc")
    answers, score = data.train.values, data.train_score
    pd.DataFrame(answers).to_csv(tmp_path / "answers.csv", index=False)
    np.savetxt(tmp_path / "score.txt", score, fmt="%.17g")
    run_r(LOGISTIC, tmp_path)
    curves = fit_curves(score, answers)
    theirs = pd.read_csv(tmp_path / "curves.csv").to_numpy()
    assert not curves.separated.any()
    np.testing.assert_allclose(curves.intercept, theirs[:, 0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(curves.slope, theirs[:, 1], rtol=1e-6, atol=1e-6)
    prior = pd.read_csv(tmp_path / "density.csv")
    assert bandwidth(score) == pytest.approx(prior["bw"][0], rel=1e-12)
    np.testing.assert_allclose(density(score, 1024, 0.0, 100.0), prior["y"], atol=1e-12)
    mode, _, _ = ScorePosterior.of(curves, score).predict(answers, range(answers.shape[1]))
    # To a point of the grid, of which there are 1024.
    np.testing.assert_allclose(mode, pd.read_csv(tmp_path / "mode.csv")["mode"], atol=1e-9)
    model = fit_logistic(answers[:, 1:9].astype(float), answers[:, 0].astype(float))
    several = pd.read_csv(tmp_path / "several.csv")["b"].to_numpy()
    np.testing.assert_allclose([model.intercept, *model.weights], several, rtol=1e-6, atol=1e-6)


# Backward steps by the smallest coefficient: the original's reduction of a linear model.
PRUNING = """
d <- read.csv("answers.csv"); s <- scan("score.txt", quiet = TRUE)
e <- read.csv("other.csv"); o <- scan("other.txt", quiet = TRUE)
rows <- NULL
while (ncol(d) > 1) {
  m <- lm(s ~ ., data = d)
  b <- abs(coef(m)[-1])
  rms <- function(x) sqrt(mean(x^2))
  gone <- if (anyNA(b)) names(b)[is.na(b)][1] else names(b)[which.min(b)]
  rows <- rbind(rows, data.frame(d = ncol(d), train = rms(residuals(m)),
                                 test = rms(predict(m, e) - o), gone = gone))
  d[[gone]] <- NULL
}
write.csv(rows, "rows.csv", row.names = FALSE)
"""


def test_pruning_as_in_r(golden: Path, tmp_path: Path) -> None:
    data = benchmark_data(golden, "arc")
    # More items than the golden matrix's LLMs can carry make coefficients of rounding.
    columns = np.flatnonzero(data.train.values.std(axis=0) > 0.2)[:60]
    names = [f"i{c}" for c in columns]
    for part, name, scores in ((data.train, "answers", "score"), (data.test, "other", "other")):
        pd.DataFrame(part.values[:, columns], columns=names).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
        truth = data.train_score if scores == "score" else data.test_score
        np.savetxt(tmp_path / f"{scores}.txt", truth, fmt="%.17g")
    run_r(PRUNING, tmp_path)
    theirs = pd.read_csv(tmp_path / "rows.csv")
    found = prune(data.train.values[:, columns], data.train_score, "coefficient")
    assert [names[i] for i in found.removed[:-1]] == theirs["gone"].tolist()
    for part, truth, column in (
        (data.train, data.train_score, "train"), (data.test, data.test_score, "test"),
    ):  # fmt: skip
        left = found.predict(part.values[:, columns]) - truth[:, None]
        rmse = np.sqrt(np.mean(left**2, axis=0))
        np.testing.assert_allclose(rmse[theirs["d"] - 1], theirs[column], atol=1e-9)


KMEANS = """
x <- as.matrix(read.csv("points.csv")); k <- scan("k.txt", quiet = TRUE)
set.seed(1)
best <- sapply(k, function(n) kmeans(x, n, iter.max = 100, nstart = 25)$tot.withinss)
once <- sapply(k, function(n) kmeans(x, n, iter.max = 10, nstart = 1)$tot.withinss)
write.csv(data.frame(best, once), "inertia.csv", row.names = FALSE)
"""


@pytest.mark.parametrize("scaling", ["raw", "standard"])
def test_kmeans_reaches_rs(scaling: Any, tmp_path: Path) -> None:
    """On the embedded bundle's items; R's is of Hartigan and Wong, too."""
    numbers = (5, 10, 15, 20, 25, 30)
    np.savetxt(tmp_path / "k.txt", numbers, fmt="%d")
    for benchmark in ("arc", "winogrande"):
        parameters = load_bundle().benchmarks[benchmark].parameters  # type: ignore[index]
        points = parameter_points(parameters, scaling)
        pd.DataFrame(points).to_csv(tmp_path / "points.csv", index=False)
        run_r(KMEANS, tmp_path)
        theirs = pd.read_csv(tmp_path / "inertia.csv")
        for k, best, once in zip(numbers, theirs["best"], theirs["once"], strict=True):
            ours = kmeans(points, k)
            assert ours.inertia <= best * (1 + 1e-9)
            assert best <= once * (1 + 1e-9)
