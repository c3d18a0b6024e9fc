# Base R's tests of groups, beside which ours are held.

statistics_groups <- function(values, group) {
  group <- factor(group, levels = unique(group))
  welch <- oneway.test(values ~ group)
  rank <- kruskal.test(values, group)
  apart <- abs(values - ave(values, group, FUN = median))
  spread <- anova(lm(apart ~ group))
  list(
    welch = c(welch$statistic, welch$parameter, welch$p.value),
    kruskal = c(rank$statistic, rank$parameter, rank$p.value),
    brown_forsythe = c(spread[1L, "F value"], spread[["Df"]], spread[1L, "Pr(>F)"])
  )
}

statistics_pairs <- function(values, group) {
  group <- factor(group, levels = unique(group))
  pairs <- combn(levels(group), 2L)
  one <- apply(pairs, 2L, function(pair) {
    found <- t.test(values[group == pair[1L]], values[group == pair[2L]])
    c(-diff(found$estimate), found$conf.int, found$p.value)
  })
  corrected <- pairwise.t.test(values, group, pool.sd = FALSE, p.adjust.method = "holm")$p.value
  list(
    pairs = t(one),
    adjusted = apply(pairs, 2L, function(pair) corrected[pair[2L], pair[1L]])
  )
}

statistics_trend <- function(x, y) {
  rank <- cor.test(x, y, method = "spearman", exact = FALSE)
  list(
    spearman = c(rank$estimate, rank$p.value),
    slope = unname(coef(lm(y ~ x))[2L])
  )
}

# The simulation of the original's synergy study, draw by draw: answers of both tests, test LLMs.
statistics_synergy <- function(correlation, dependence, seed, n_llms, n_items) {
  sampling_seeded(seed, function() {
    # MASS::mvrnorm, by R alone.
    sigma <- eigen(matrix(c(1, correlation, correlation, 1), 2L), symmetric = TRUE)
    noise <- matrix(rnorm(2L * n_llms), n_llms)
    ability <- t(sigma$vectors %*% diag(sqrt(pmax(sigma$values, 0))) %*% t(noise))
    items <- replicate(2L, simplify = FALSE, {
      slopes <- matrix(runif(2L * n_items, 0, 3), n_items)
      list(slopes = slopes, intercepts = rnorm(n_items))
    })
    weights <- list(c(1, dependence), c(0, 1))
    answers <- Map(function(item, weight) {
      logit <- cbind(1, ability) %*% t(cbind(item$intercepts, item$slopes %*% diag(weight)))
      matrix(rbinom(length(logit), 1L, 1 / (1 + exp(-logit))), n_llms)
    }, items, weights)
    score <- 100 * rowMeans(answers[[1L]])
    quarters <- split(seq_along(score), sampling_groups(score, 5L))
    drawn <- lapply(quarters, function(rows) rows[sample.int(length(rows), ceiling(0.1 * length(rows)))])
    list(first = answers[[1L]], second = answers[[2L]], test = unlist(drawn, use.names = FALSE))
  })
}
