# Reads the original's released .rds files as plain values. mirt need not be installed: an S4
# object of an absent class keeps its slots as attributes. Callers check the hash first.

# The class keeps the list in R: only what the functions below give crosses the border.
upstream_read <- function(path) structure(readRDS(path), class = "upstream_file")

upstream_items <- function(fit) {
  if (!is.list(fit) || is.null(fit$items) || is.null(fit$model)) {
    stop("no list with $items and $model")
  }
  item <- as.character(fit$items$item)
  objects <- attr(fit$model, "ParObjects")$pars
  answered <- colnames(attr(fit$model, "Data")$data)
  # One object an item, in the order of the data's columns, and a last one, the group's.
  if (is.null(answered) || length(objects) != length(answered) + 1L) {
    stop("$model is not a fit of mirt with one parameter object an item")
  }
  objects <- objects[seq_along(answered)]
  value <- function(object, name) {
    at <- match(name, attr(object, "parnames"))
    if (is.na(at)) stop("an item has no parameter '", name, "'")
    as.double(unname(attr(object, "par"))[at])
  }
  parameters <- sapply(c("a1", "d", "g", "u"), function(name) {
    vapply(objects, value, double(1), name = name)
  })
  row <- match(item, answered)
  if (anyNA(row) || length(item) != length(answered)) {
    stop("$items and $model have different items, for instance ",
         c(item[is.na(row)], setdiff(answered, item))[1L])
  }
  parameters <- parameters[row, , drop = FALSE]
  estimation <- attr(fit$model, "OptimInfo")
  list(
    item = item,
    a1 = parameters[, "a1"],
    d = parameters[, "d"],
    # On the logit scale; -999 and 999 mean fixed at 0 and 1, which plogis gives exactly.
    g = stats::plogis(parameters[, "g"]),
    u = stats::plogis(parameters[, "u"]),
    item_type = unique(as.character(attr(fit$model, "Model")$itemtype)),
    log_likelihood = as.double(attr(fit$model, "Fit")$logLik),
    iterations = as.integer(estimation$iter),
    converged = isTRUE(estimation$converged),
    n_llms = nrow(attr(fit$model, "Data")$data)
  )
}

upstream_linear <- function(fit) {
  if (!inherits(fit$model, "lm")) stop("no list with an lm as $model")
  values <- fit$model$coefficients
  names <- gsub("^`|`$", "", names(values))
  slope <- names != "(Intercept)"
  # lm gives NA to a column that the others determine; predict() leaves it out.
  values[is.na(values)] <- 0
  list(
    intercept = sum(values[!slope]),
    item = names[slope],
    weight = as.double(values[slope]),
    n_llms = length(fit$model$residuals)
  )
}

upstream_gam_model <- function(fit) {
  if (!inherits(fit$model, "gam")) stop("no list with a gam as $model")
  fit$model
}

# Errors on the test LLMs, ordered by prediction; scores of the LLMs in the fit.
upstream_gam_errors <- function(fit) {
  test <- fit$test
  if (is.null(test$p) || is.null(test$grand)) stop("no $test with the columns p and grand")
  keep <- order(test$p)
  list(
    predicted = as.double(test$p)[keep],
    error = as.double(test$p - test$grand)[keep],
    score = as.double(fit$model$y),
    features = lapply(test[keep, vapply(test, is.numeric, logical(1))], as.double)
  )
}
