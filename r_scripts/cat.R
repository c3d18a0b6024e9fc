# Adaptive tests by catR.

# Tests each LLM (row of `answers`, NA where it has none) with items from `bank` (a, b, c, d).
# `se` < 0: no such rule. Items come back as positions from 1, 0 after a test's end.
cat_simulate <- function(answers, bank, criterion, method, start, n_random, se, most, randomesque,
                         seed, range, n_nodes) {
  colnames(bank) <- c("a", "b", "c", "d")
  nodes <- c(range, n_nodes)
  n <- nrow(answers)
  items <- matrix(0L, n, most)
  theta_path <- se_path <- matrix(NA_real_, n, most)
  theta <- numeric(n)
  error <- rep(if (method == "WL") NA_real_ else 1, n)
  if (method == "WL") theta[] <- NA_real_
  estimate <- list(method = method, range = range, parInt = nodes)
  for (i in seq_len(n)) {
    there <- !is.na(answers[i, ])
    if (!any(there)) next
    length_now <- min(most, sum(there))
    rules <- if (se > 0) c("precision", "length") else "length"
    limits <- if (se > 0) c(se, length_now) else length_now
    first <- if (n_random > 0L) {
      list(nrItems = min(n_random, length_now), seed = seed + i)
    } else {
      list(nrItems = min(length(start), length_now), theta = start[seq_len(min(length(start), length_now))],
           startSelect = "MFI")
    }
    # Of what an LLM has not answered nothing is asked, so the value does not matter.
    row <- ifelse(there, answers[i, ], 0L)
    found <- sampling_seeded(seed + i, function() {
      catR::randomCAT(
        responses = row, itemBank = bank, nAvailable = as.integer(there), start = first,
        # It seeds R anew by the clock unless each choice has a seed.
        test = c(estimate, list(itemSelect = criterion, randomesque = randomesque,
                                random.seed = seed + i)),
        stop = list(rule = rules, thr = limits), final = estimate)
    })
    k <- length(found$testItems)
    items[i, seq_len(k)] <- as.integer(found$testItems)
    # The path begins where the first items end.
    after <- seq.int(k - length(found$thetaProv) + 1L, k)
    theta_path[i, after] <- as.double(found$thetaProv)
    se_path[i, after] <- as.double(found$seProv)
    theta[i] <- found$thFinal
    error[i] <- found$seFinal
  }
  list(items = items, theta = theta, se = error, theta_path = theta_path, se_path = se_path)
}

# Ability, its standard error, and the worth of every item under a criterion.
cat_values <- function(bank, used, answers, method, criterion, theta, range, n_nodes) {
  colnames(bank) <- c("a", "b", "c", "d")
  nodes <- c(range, n_nodes)
  given <- bank[used, , drop = FALSE]
  free <- setdiff(seq_len(nrow(bank)), used)
  worth <- switch(criterion,
    MFI = catR::Ii(theta, bank)$Ii[free],
    KL = ,
    KLP = vapply(free, function(j) catR::KL(bank, j, answers, given, theta = theta, lower = range[1],
                                            upper = range[2], nqp = n_nodes, type = criterion), 0),
    MEI = vapply(free, function(j) catR::MEI(bank, j, answers, theta, given, method = method,
                                             range = range, parInt = nodes), 0)
  )
  estimate <- catR::thetaEst(given, answers, method = method, range = range, parInt = nodes)
  list(
    theta = estimate,
    se = catR::semTheta(estimate, given, answers, method = method, range = range, parInt = nodes),
    free = as.integer(free),
    worth = as.double(worth)
  )
}
