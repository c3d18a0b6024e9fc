# Item response models by mirt: fit, score fixed parameters, information, item fit.

# One EM fit as the original calls it: quiet, with its density, tolerance and cycle limit.
irt_fit <- function(responses, item_type, tolerance, max_cycles) {
  # Columns without a name would be renamed by mirt.
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

# A mirt model that holds these parameters; TOL = NaN leaves the values alone. mirt wants data
# with both answers to every item: by default one LLM that is all wrong and one all right.
irt_model <- function(a1, d, g, u, data = matrix(rep(0:1, length(a1)), nrow = 2L)) {
  n <- length(a1)
  colnames(data) <- paste0("i", seq_len(n))
  type <- if (all(g == 0 & u == 1)) "2PL" else "4PL"
  technical <- list(warn = FALSE, message = FALSE, customK = rep(2L, n))
  values <- mirt::mirt(data, 1, itemtype = type, pars = "values", technical = technical,
                       verbose = FALSE)
  given <- list(a1 = a1, d = d, g = g, u = u)
  for (name in names(given)) values$value[values$name == name] <- given[[name]]
  values$est <- FALSE
  mirt::mirt(data, 1, itemtype = type, pars = values, TOL = NaN, technical = technical,
             verbose = FALSE)
}

# Abilities and their standard errors, one row an LLM.
irt_score <- function(responses, a1, d, g, u, method) {
  model <- irt_model(a1, d, g, u)
  if (method == "EAPsum" && anyNA(responses)) return(irt_score_answered_sum(model, responses))
  # The two added rows keep mirt's table of categories whole when an item is answered alike (or
  # not at all) by everybody, and keep it off its other path for a single LLM.
  n <- nrow(responses)
  padded <- rbind(unname(responses), 0L, 1L)
  scores <- mirt::fscores(model, method = method, response.pattern = padded,
                          append_response.pattern = FALSE,
                          use_dentype_estimate = method %in% c("EAP", "EAPsum"))
  list(theta = as.double(scores[seq_len(n), 1L]), se = as.double(scores[seq_len(n), 2L]))
}

# A sum score over the answered items alone, which mirt does not have: the Lord-Wingersky (1984)
# recursion over each LLM's items, on mirt's curves, nodes and prior.
irt_score_answered_sum <- function(model, responses) {
  nodes <- as.double(model@Model$Theta)
  weight <- as.double(model@Internals$Prior[[1L]])
  right <- vapply(seq_len(ncol(responses)), function(i) {
    mirt::probtrace(mirt::extract.item(model, i), matrix(nodes))[, 2L]
  }, double(length(nodes)))
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
  model <- irt_model(a1, d, g, u)
  vapply(seq_along(a1), function(i) {
    mirt::iteminfo(mirt::extract.item(model, i), matrix(theta))
  }, double(length(theta)))
}

# Infit and outfit at given abilities. Each item needs both answers in mirt's table even where
# these LLMs gave one, hence customK.
irt_item_fit <- function(responses, a1, d, g, u, theta) {
  model <- irt_model(a1, d, g, u, unname(responses))
  found <- mirt::itemfit(model, fit_stats = "infit", Theta = matrix(theta))
  list(outfit = as.double(found$outfit), z_outfit = as.double(found$z.outfit),
       infit = as.double(found$infit), z_infit = as.double(found$z.infit))
}
