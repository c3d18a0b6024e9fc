# Second stage: fit, describe, predict, strip and export generalised additive models of mgcv.

# y ~ s(a) + s(b) + ...  The global environment goes with the formula, because the calling
# frame's would drag the training data into every saved fit.
gam_formula <- function(response, predictors, basis, k) {
  smooth <- lapply(predictors, function(name) {
    term <- list(as.name("s"), as.name(name), bs = basis)
    if (!is.null(k)) term$k <- k
    as.call(term)
  })
  stats::as.formula(call("~", as.name(response), Reduce(function(a, b) call("+", a, b), smooth)),
                    env = globalenv())
}

gam_fit <- function(data, response, predictors, basis = "ad", k = NULL, sp = NULL,
                    method = NULL, bam = FALSE, discrete = FALSE) {
  formula <- gam_formula(response, predictors, basis, k)
  data <- as.data.frame(data, optional = TRUE)[c(response, predictors)]
  options <- list(formula = formula, data = data)
  # NULL means mgcv's own default: GCV.Cp for gam, fREML for bam.
  if (!is.null(method)) options$method <- method
  if (!is.null(sp)) options$sp <- sp
  if (bam && discrete) options$discrete <- TRUE
  fit <- do.call(if (bam) mgcv::bam else mgcv::gam, options, quote = TRUE)
  # do.call would put the data themselves into the call.
  fit$call <- call(if (bam) "bam" else "gam", formula = formula)
  fit
}

gam_describe <- function(fit) {
  # With fixed smoothing parameters mgcv keeps the values in full.sp or in sp.
  sp <- if (length(fit$sp)) fit$sp else fit$full.sp
  if (is.null(sp)) sp <- double(0)
  list(
    edf = sum(fit$edf),
    gcv = as.double(fit$gcv.ubre)[1L],
    criterion = as.character(fit$method)[1L],
    deviance_explained = (fit$null.deviance - fit$deviance) / fit$null.deviance,
    scale = as.double(fit$sig2)[1L],
    sp = as.double(sp),
    n = length(fit$y),
    # bam's own account of its search is no list.
    converged = isTRUE(fit$converged) &&
      (!is.list(fit$mgcv.conv) || is.null(fit$mgcv.conv$fully.converged) ||
         isTRUE(fit$mgcv.conv$fully.converged)),
    iterations = as.integer(if (is.list(fit$mgcv.conv)) fit$mgcv.conv$iter else fit$iter)[1L],
    version = as.character(utils::packageVersion("mgcv"))
  )
}

gam_predict <- function(fit, data) {
  as.double(mgcv::predict.gam(fit, as.data.frame(data, optional = TRUE)))
}

gam_features <- function(fit) vapply(fit$smooth, function(s) s$term[1L], "")

# What predict() and print() need, and nothing that has a row an LLM.
gam_strip <- function(fit) {
  if (!inherits(fit, "gam")) stop("not a gam of mgcv but ", class(fit)[1L])
  gam_check(fit)
  keep <- c("coefficients", "sig2", "edf", "rank", "sp", "nsdf", "boundary", "converged",
            "gcv.ubre", "scale.estimated", "method", "optimizer", "cmX", "assign", "min.edf",
            "df.residual", "deviance", "null.deviance", "df.null", "pred.formula")
  small <- unclass(fit)[intersect(keep, names(fit))]
  small$family <- stats::gaussian()
  # predict() looks at the ranges only to tell a factor from a number.
  small$var.summary <- lapply(fit$var.summary, function(v) c(0, 0, 0))
  bare <- function(f) {
    attributes(f)$.Environment <- globalenv()
    f
  }
  for (name in c("formula", "terms", "pterms", "pred.formula")) small[[name]] <- bare(fit[[name]])
  small$smooth <- lapply(fit$smooth, function(smooth) {
    smooth[c("S", "D", "deriv.S")] <- NULL
    smooth$xt <- NULL
    smooth
  })
  small$call <- call("gam", formula = small$formula)
  small$control <- list()
  class(small) <- c("gam", "glm", "lm")
  small
}

# A portable term is a cubic P-spline of one numeric variable with a centring constraint.
gam_check <- function(fit) {
  if (!identical(fit$family$link, "identity")) stop("the link is not the identity")
  if (!identical(as.integer(fit$nsdf), 1L) || length(attr(fit$pterms, "offset"))) {
    stop("there are parametric terms besides the intercept")
  }
  for (smooth in fit$smooth) {
    usual <- inherits(smooth, "pspline.smooth") && smooth$dim == 1L && smooth$by == "NA" &&
      smooth$m[1L] == 2 && (is.null(smooth$deriv) || smooth$deriv == 0) &&
      is.null(smooth$diagRP) && is.null(attr(smooth, "del.index", exact = TRUE))
    if (!usual) stop("the term ", smooth$label, " is not a cubic P-spline of one variable")
  }
  invisible(TRUE)
}

# Coefficients of the unconstrained basis. mgcv drops one column, by a QR decomposition of the
# sum-to-zero constraint or by sweeping the column means out of the others (bam, discrete).
gam_unconstrain <- function(smooth, beta) {
  constraint <- attr(smooth, "qrc", exact = TRUE)
  if (is.null(constraint)) return(beta)
  if (inherits(constraint, "sweepDrop")) {
    full <- append(beta, 0, after = constraint[1L] - 1L)
    # B-splines sum to one everywhere, so a constant is added to every coefficient.
    return(full - sum(constraint[-1L] * beta))
  }
  if (!inherits(constraint, "qr")) {
    stop("the term ", smooth$label, " has a constraint of an unknown kind")
  }
  n <- attr(smooth, "nCons", exact = TRUE)
  # Basis functions that no training value touches take no part in the constraint.
  touched <- attr(smooth, "indi", exact = TRUE)
  if (is.null(touched)) return(qr.qy(constraint, c(rep(0, n), beta)))
  kept <- utils::head(touched, -n)
  dropped <- utils::tail(touched, n)
  full <- double(length(beta) + n)
  full[-dropped] <- beta
  full[touched] <- qr.qy(constraint, c(rep(0, n), full[kept]))
  full
}

gam_export <- function(fit, n_probe = 64L) {
  if (!inherits(fit, "gam")) stop("not a gam of mgcv but ", class(fit)[1L])
  gam_check(fit)
  beta <- fit$coefficients
  terms <- lapply(fit$smooth, function(smooth) {
    list(
      feature = smooth$term,
      knots = as.double(smooth$knots),
      coefficients = as.double(
        gam_unconstrain(smooth, beta[smooth$first.para:smooth$last.para])
      )
    )
  })
  # predict()'s own values, well inside and far outside, for the receiver to compare with.
  probe <- lapply(seq_along(fit$smooth), function(i) {
    knots <- fit$smooth[[i]]$knots
    at <- stats::qnorm(((seq_len(n_probe) * 7L * i) %% 61L + 0.5) / 61)
    mean(range(knots)) + at * diff(range(knots)) / 3
  })
  names(probe) <- vapply(terms, function(term) term$feature, "")
  list(intercept = as.double(beta[1L]), terms = terms, probe = probe,
       predicted = gam_predict(fit, probe))
}

gam_save <- function(fit, path) {
  saveRDS(fit, path, compress = "xz")
  TRUE
}

gam_load <- function(path) {
  fit <- readRDS(path)
  # The original's files are lists that hold the fit beside its data.
  if (!inherits(fit, "gam") && is.list(fit)) fit <- fit$model
  if (!inherits(fit, "gam")) stop("no gam of mgcv in ", basename(path))
  fit
}

# Coefficients of R's own linear model, NA where others determine a column.
lm_coefficients <- function(responses, score) {
  as.double(stats::lm(score ~ ., data = data.frame(responses, score = score))$coefficients)
}
