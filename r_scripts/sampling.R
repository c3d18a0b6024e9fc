# Draws by R's random numbers: the same seed gives what the same lines give in an R script.

# Runs a function after set.seed(seed), with R's own generators whatever was chosen before, and
# puts the state back as it was.
sampling_seeded <- function(seed, fun) {
  before <- get0(".Random.seed", globalenv(), inherits = FALSE)
  kinds <- RNGkind()
  on.exit({
    # R warns when the old sampler is chosen again.
    suppressWarnings(do.call(RNGkind, as.list(kinds)))
    if (is.null(before)) {
      rm(".Random.seed", envir = globalenv())
    } else {
      assign(".Random.seed", before, globalenv())
    }
  })
  set.seed(seed, "Mersenne-Twister", "Inversion", "Rejection")
  fun()
}

# One row a seed: set.seed(seed); sample(n, size), in the order of the draws.
sampling_sample <- function(n, size, seeds) {
  drawn <- vapply(seeds, function(seed) {
    sampling_seeded(seed, function() sample.int(n, size))
  }, integer(size))
  matrix(drawn, nrow = length(seeds), ncol = size, byrow = TRUE)
}

# What its many dependencies warn of when they load (no time zone in a container) is not about us.
sampling_load_caret <- function() invisible(suppressWarnings(loadNamespace("caret")))

# Classes of a score: between its quantiles, with the lowest value in the first.
sampling_groups <- function(score, n_quantiles) {
  cuts <- unique(stats::quantile(score, seq(0, 1, length.out = n_quantiles)))
  cut(score, cuts, include.lowest = TRUE)
}

# The share p of each quarter of the scores: caret::createDataPartition(score, p = p).
sampling_partition <- function(score, p, seed, caret) {
  if (caret) sampling_load_caret()
  drawn <- sampling_seeded(seed, if (caret) {
    function() caret::createDataPartition(score, p = p, list = FALSE)[, 1L]
  } else {
    function() {
      quarters <- split(seq_along(score), sampling_groups(score, min(5L, length(score))))
      unlist(lapply(quarters, function(rows) {
        # caret takes a single row without a draw.
        if (length(rows) == 1L) rows else rows[sample.int(length(rows), ceiling(p * length(rows)))]
      }), use.names = FALSE)
    }
  })
  sort(as.integer(drawn))
}

# A fold's number for each score: caret::createFolds(score, k, list = FALSE).
sampling_folds <- function(score, k, seed, caret) {
  if (caret) sampling_load_caret()
  sampling_seeded(seed, if (caret) {
    function() as.integer(caret::createFolds(score, k, list = FALSE))
  } else {
    function() {
      group <- as.character(sampling_groups(score, max(2L, min(5L, length(score) %/% k))))
      fold <- integer(length(score))
      # caret takes the classes in the order of their labels as texts.
      for (label in sort(unique(group), method = "radix")) {
        rows <- which(group == label)
        whole <- rep(seq_len(k), length(rows) %/% k)
        spare <- if (length(rows) %% k) sample.int(k, length(rows) %% k)
        # Fewer rows than folds: each takes another fold at random.
        fold[rows] <- if (length(whole)) sample(c(whole, spare)) else spare
      }
      fold
    }
  })
}
