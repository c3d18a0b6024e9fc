# Item response models by mirt: fit, score fixed parameters, information, item fit.

# One EM fit as the original calls it: quiet, with its density, tolerance and cycle limit.
irt_fit <- function(responses, item_type, tolerance, max_cycles) {
  fit <- mirt::mirt(responses, 1, itemtype = item_type, method = "EM", dentype = "Gaussian",
                    TOL = tolerance, technical = list(NCYCLES = max_cycles), verbose = FALSE)
  parameters <- mirt::coef(fit, simplify = TRUE)$items
  list(
    item = rownames(parameters),
    a1 = as.double(parameters[, "a1"]),
    d = as.double(parameters[, "d"]),
    g = as.double(parameters[, "g"]),
    u = as.double(parameters[, "u"]),
    log_likelihood = as.double(mirt::extract.mirt(fit, "logLik")),
    iterations = as.integer(mirt::extract.mirt(fit, "iterations")),
    converged = isTRUE(mirt::extract.mirt(fit, "converged"))
  )
}

# A mirt model that holds these parameters. Other item types are this one with g = 0 or u = 1.
# mirt wants data with both answers to every item: by default one LLM that is all wrong and one
# all right.
irt_model <- function(a1, d, g, u, data = matrix(rep(0:1, length(a1)), nrow = 2L)) {
  n <- length(a1)
  colnames(data) <- paste0("i", seq_len(n))
  # Nothing to estimate, or mirt refuses tests of few items.
  fixed <- sprintf("(1-%d, %s)", n, c("a1", "d", "g", "u"))
  syntax <- sprintf("F1 = 1-%d\nFIXED = %s", n, paste(fixed, collapse = ", "))
  # customK: two categories even where these LLMs all answered alike.
  model <- mirt::mirt(data, syntax, itemtype = "4PL", TOL = NaN, verbose = FALSE,
                      technical = list(warn = FALSE, message = FALSE, customK = rep(2L, n)))
  # Into the slots: mirt's own way in (pars =) takes three times as long for the same object.
  objects <- model@ParObjects$pars
  values <- rbind(a1, d, irt_logit(g), irt_logit(u))
  for (i in seq_len(n)) {
    stopifnot(identical(objects[[i]]@parnames, c("a1", "d", "g", "u")))
    objects[[i]]@par[] <- values[, i]
  }
  model@ParObjects$pars <- objects
  model
}

# mirt's: -999 and 999 are exactly 0 and 1.
irt_logit <- function(p) pmin(pmax(stats::qlogis(p), -999), 999)

# Abilities and their standard errors, one row an LLM; found is FALSE where mirt's search did not
# say that it ended at a mode.
irt_score <- function(responses, a1, d, g, u, method) {
  n <- nrow(responses)
  # mirt's sum scores know neither missing answers nor tests of one item.
  if (method == "EAPsum" && (anyNA(responses) || length(a1) == 1L)) {
    scores <- irt_score_answered_sum(irt_model(a1, d, g, u), responses)
    return(c(scores, list(found = rep(TRUE, n))))
  }
  # The two added rows keep mirt's table of categories whole when an item is answered alike (or
  # not at all) by everybody.
  model <- irt_model(a1, d, g, u, rbind(unname(responses), 0L, 1L))
  # mirt's warning counts rows of its own; the caller names the LLMs instead.
  scores <- suppressWarnings(
    mirt::fscores(model, method = method, full.scores.SE = TRUE, verbose = FALSE,
                  use_dentype_estimate = method %in% c("EAP", "EAPsum")))
  code <- attr(scores, "converge_info_code")
  rows <- seq_len(n)
  list(theta = as.double(scores[rows, 1L]), se = as.double(scores[rows, 2L]),
       found = if (is.null(code)) rep(TRUE, n) else code[rows] %in% c(1, NA))
}

# A sum score over the answered items alone, which mirt does not have: the Lord-Wingersky (1984)
# recursion over each LLM's items, on mirt's curves, nodes and prior.
irt_score_answered_sum <- function(model, responses) {
  nodes <- as.double(model@Model$Theta)
  weight <- as.double(model@Internals$Prior[[1L]])
  # Columns go by item, wrong then right.
  right <- mirt::probtrace(model, matrix(nodes))[, c(FALSE, TRUE), drop = FALSE]
  total <- rowSums(responses, na.rm = TRUE)
  pattern <- apply(!is.na(responses), 1L, function(x) paste(as.integer(x), collapse = ""))
  theta <- se <- double(nrow(responses))
  for (rows in split(seq_len(nrow(responses)), pattern)) {
    on <- which(!is.na(responses[rows[1L], ]))
    # Rows: number of right answers; columns: nodes.
    likelihood <- matrix(1, 1L, length(nodes))
    for (i in on) {
      p <- rep(right[, i], each = nrow(likelihood))
      likelihood <- rbind(likelihood * (1 - p), 0) + rbind(0, likelihood * p)
    }
    posterior <- t(likelihood) * weight
    posterior <- t(posterior) / colSums(posterior)
    mean <- as.double(posterior %*% nodes)
    spread <- sqrt(rowSums(posterior * outer(mean, nodes, "-")^2))
    theta[rows] <- mean[total[rows] + 1L]
    se[rows] <- spread[total[rows] + 1L]
  }
  list(theta = theta, se = se)
}

# Fisher information, one row a theta, one column an item.
irt_information <- function(a1, d, g, u, theta) {
  mirt::testinfo(irt_model(a1, d, g, u), matrix(theta), individual = TRUE)
}

# Infit and outfit at given abilities.
irt_item_fit <- function(responses, a1, d, g, u, theta) {
  model <- irt_model(a1, d, g, u, unname(responses))
  # It warns of NaNs where there are too few answers; they are in its result.
  found <- suppressWarnings(mirt::itemfit(model, fit_stats = "infit", Theta = matrix(theta)))
  list(outfit = as.double(found$outfit), z_outfit = as.double(found$z.outfit),
       infit = as.double(found$infit), z_infit = as.double(found$z.infit))
}

# Two abilities by the Metropolis-Hastings Robbins-Monro algorithm: slopes as estimated, and the MAP
# abilities of the training and of other LLMs, rotated by mirt's default (oblimin), for its fscores
# fails on response patterns without a rotation.
irt_fit_two <- function(responses, others, tolerance, max_cycles, seed) {
  fit <- sampling_seeded(seed, function() {
    mirt::mirt(responses, 2, itemtype = "2PL", method = "MHRM", dentype = "Gaussian",
               TOL = tolerance, technical = list(NCYCLES = max_cycles), verbose = FALSE)
  })
  parameters <- mirt::coef(fit, simplify = TRUE, rotate = "none")$items
  # Rows of another matrix need the columns' names of the first.
  map <- function(rows) {
    if (!nrow(rows)) return(matrix(double(0), 0L, 2L))
    colnames(rows) <- colnames(responses)
    found <- mirt::fscores(fit, method = "MAP", response.pattern = rows)
    unname(as.matrix(found[, c("F1", "F2"), drop = FALSE]))
  }
  list(
    slopes = unname(parameters[, c("a1", "a2")]),
    d = as.double(parameters[, "d"]),
    iterations = as.integer(mirt::extract.mirt(fit, "iterations")),
    converged = isTRUE(mirt::extract.mirt(fit, "converged")),
    train = map(responses),
    other = map(others)
  )
}
