# Factor analysis by psych.

# One solution of n_factors: minimum residuals, factors turned by `rotation` where there are
# several, scores by regression (Thurstone).
factor_fit <- function(values, n_factors, rotation) {
  if (n_factors > 1L && rotation == "oblimin") loadNamespace("GPArotation")
  # Its estimation of scores warns of what the caller is told by the numbers.
  found <- psych::fa(values, nfactors = n_factors, rotate = rotation, fm = "minres",
                     scores = "regression", alpha = 0.1)
  plain <- function(x) if (is.null(x)) NA_real_ else as.double(unname(x))
  matrix_of <- function(x) matrix(as.double(unclass(x)), nrow = nrow(x))
  phi <- if (is.null(found$Phi)) diag(n_factors) else matrix_of(found$Phi)
  list(
    loadings = matrix_of(found$loadings),
    phi = phi,
    uniquenesses = plain(found$uniquenesses),
    weights = matrix_of(found$weights),
    score_r2 = plain(found$R2),
    variance = factor_variance(found, n_factors),
    chi_square = plain(found$STATISTIC),
    p_value = plain(found$PVAL),
    dof = plain(found$dof),
    null_chi_square = plain(found$null.chisq),
    null_dof = plain(found$null.dof),
    objective = plain(found$objective),
    rmsea = if (is.null(found$RMSEA)) rep(NA_real_, 3L) else plain(found$RMSEA[1:3]),
    tli = plain(found$TLI),
    rmsr = plain(found$rms),
    crmsr = plain(found$crms),
    scores = matrix_of(found$scores)
  )
}

# Share of the variables' variance that each factor accounts for.
factor_variance <- function(found, n_factors) {
  table <- found$Vaccounted
  if (is.null(table)) return(rep(NA_real_, n_factors))
  as.double(table["Proportion Var", ])
}

# psych::factor.scores of other rows: it standardises with these rows and inverts their correlation.
factor_scores_by_own <- function(values, loadings, phi) {
  colnames(values) <- rownames(loadings) <- paste0("V", seq_len(ncol(values)))
  found <- psych::factor.scores(values, loadings, Phi = phi, method = "Thurstone")
  matrix(as.double(found$scores), nrow = nrow(values))
}

# Horn's parallel analysis: eigenvalues of the data beside those of random numbers.
factor_parallel <- function(values, n_samples, seed) {
  # psych forks otherwise, which an R inside another program must not.
  before <- options(mc.cores = 1L)
  on.exit(options(before))
  found <- NULL
  sampling_seeded(seed, function() {
    utils::capture.output(found <<- psych::fa.parallel(
      values, fm = "minres", fa = "both", n.iter = n_samples, plot = FALSE))
  })
  list(
    factor_values = as.double(found$fa.values),
    factor_random = as.double(found$fa.sim),
    component_values = as.double(found$pc.values),
    component_random = as.double(found$pc.sim),
    n_factors = as.integer(found$nfact),
    n_components = as.integer(found$ncomp)
  )
}
