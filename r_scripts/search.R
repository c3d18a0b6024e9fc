# The original's optimiser, rBayesianOptimization, asked for one point at a time.

# Points to begin with, one row each: uniform between the bounds, whole numbers rounded, as
# BayesianOptimization(init_points = n) draws them.
search_begin <- function(n, lower, upper, whole, seed) {
  points <- sampling_seeded(seed, function() {
    vapply(seq_along(lower), function(j) stats::runif(n, lower[[j]], upper[[j]]), double(n))
  })
  points <- matrix(points, nrow = n)
  points[, whole] <- round(points[, whole])
  points
}

# The next point after those in history, one row each, with their values, to be maximised.
# BayesianOptimization evaluates its function itself, so the function given to it ends the call
# with the point in its hands.
search_propose <- function(history, values, lower, upper, whole, kappa, eps, seed) {
  names <- paste0("x", seq_along(lower))
  bounds <- lapply(seq_along(lower), function(j) {
    range <- c(lower[[j]], upper[[j]])
    if (whole[[j]]) as.integer(range) else as.double(range)
  })
  names(bounds) <- names
  known <- as.data.frame(history)
  names(known) <- names
  known$Value <- values
  point <- NULL
  take <- function(...) {
    point <<- c(...)
    stop(structure(class = c("search_point", "error", "condition"),
                   list(message = "the point is known", call = NULL)))
  }
  sampling_seeded(seed, function() {
    tryCatch(
      utils::capture.output(suppressWarnings(rBayesianOptimization::BayesianOptimization(
        take, bounds = bounds, init_grid_dt = known, init_points = 0, n_iter = 1, acq = "ucb",
        kappa = kappa, eps = eps, verbose = FALSE))),
      search_point = function(condition) NULL)
  })
  as.double(point[names])
}
