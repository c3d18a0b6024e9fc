# The golden pipeline's steps as a person would write them in R: what bench_pipeline.py times.
# Rscript --vanilla bench_pipeline.R STEP GOLDEN NAMES BENCHMARK [MORE]; NAMES is a folder with the
# kept items and test LLMs, a line each, for R alone does not read JSON.
options(warn = -1)
a <- commandArgs(TRUE)
step <- a[1]; golden <- a[2]; names <- a[3]; name <- a[4]
load <- function(package) suppressMessages(library(package, character.only = TRUE))
at <- function(...) file.path(golden, ...)
bits <- function(name) {
  d <- read.csv(at("preprocess", paste0(name, "-data.csv.gz")), colClasses = "character")
  m <- do.call(rbind, lapply(strsplit(d$bits, ""), as.integer))
  kept <- readLines(file.path(names, paste0(name, ".txt")))
  dimnames(m) <- list(d$source, as.character(kept))
  m
}
stage <- function(name) {
  m <- bits(name)
  chosen <- read.csv(at("crossvalidate", paste0(name, "-2PL-items.csv")), colClasses = c(item = "character"))$item
  llms <- read.csv(at("preprocess", paste0(name, "-llms.csv")))
  score <- llms$score_pct[match(rownames(m), llms$source)]
  test <- readLines(file.path(names, "test.txt"))
  held <- rownames(m) %in% test
  list(all = m, some = as.data.frame(m[, chosen]), score = score, held = held)
}
preprocess <- function() {
  for (package in c("dplyr", "tidyr", "ggplot2")) load(package)
  files <- list.files(at("inputs"), paste0("^", name, "(_[a-z_]+)?[.]csv[.]gz$"))
  for (file in files[!grepl("_prompts", files)]) {
    d <- read.csv(at("inputs", file), colClasses = c("character", "character", "numeric"))
    p <- read.csv(at("inputs", sub(".csv.gz", "_prompts.csv.gz", file, fixed = TRUE)), colClasses = "character")
    w <- pivot_wider(d, names_from = "item", values_from = "correct")
    m <- as.matrix(w[, setdiff(names(w)[-1], p$item[duplicated(p$prompt)])])
    score <- rowSums(m)
    m <- m[score > quantile(score, 0.001), ]
    total <- rowMeans(m)
    disc <- apply(m, 2, function(x) (mean(total[x == 1]) - mean(total)) / sd(total) * sqrt(mean(x) * (1 - mean(x))))
    keep <- apply(m, 2, sd) > 0.01 & colMeans(m) < 0.95 & abs(disc) >= 0.05
    saveRDS(m[, which(keep)], tempfile())
  }
}
split <- function() {
  load("caret")
  tables <- lapply(list.files(at("preprocess"), "-llms[.]csv$", full.names = TRUE), function(path) {
    read.csv(path)[c("source", "score_pct")]
  })
  merged <- Reduce(function(a, b) merge(a, b, by = "source"), tables)
  set.seed(1)
  createDataPartition(rowMeans(merged[-1]), p = 0.1, list = FALSE)
}
random <- function(subsets) {
  load("mgcv")
  load("caret")
  s <- stage(name)
  set.seed(1)
  train <- !s$held
  m <- s$all[train, ]; score <- s$score[train]
  fold <- createFolds(score, 5, list = FALSE)
  clock <- proc.time()
  for (k in seq_len(subsets)) {
    set.seed(k)
    pick <- sort(sample(ncol(m), 60))
    d <- data.frame(y = score, x = rowMeans(m[, pick]))
    t <- data.frame(y = s$score[s$held], x = rowMeans(s$all[s$held, pick]))
    for (f in 1:5) {
      g <- gam(y ~ s(x, bs = "ad"), data = d[fold != f, ])
      sqrt(mean((d$y - predict(g, d))[fold == f]^2)); sqrt(mean((t$y - predict(g, t))^2))
    }
  }
  # The loop's own seconds, to be scaled.
  cat(sum((proc.time() - clock)[1:2]))
}
fit <- function(model) {
  load("mirt")
  load("mgcv")
  s <- stage(name)
  m <- mirt(s$some[!s$held, ], 1, itemtype = model, verbose = FALSE, technical = list(NCYCLES = 1000))
  out <- lapply(c("MAP", "EAPsum", "EAP"), function(method) fscores(m, method = method, response.pattern = s$some))
  d <- data.frame(score = s$score, F1 = out[[1]][, "F1"], sub = 100 * rowMeans(s$some))
  g <- gam(score ~ s(F1, bs = "ad") + s(sub, bs = "ad"), data = d[!s$held, ])
  sqrt(mean((d$score - predict(g, d))[s$held]^2))
}
select <- function() {
  for (package in c("mirt", "caret")) load(package)
  load("mgcv")
  s <- stage(name)
  some <- s$some[!s$held, ]; score <- s$score[!s$held]
  # The fit itself is taken from the step before.
  known <- read.csv(at("crossvalidate", paste0(name, "-2PL-items.csv")))
  m <- mirt(some, 1, itemtype = "2PL", pars = "values")
  for (p in c("a1", "d")) m$value[m$name == p] <- known[[p]]
  m$est <- FALSE
  full <- mirt(some, 1, itemtype = "2PL", pars = m, TOL = NaN, verbose = FALSE)
  theta <- fscores(full, method = "MAP")[, 1]
  for (i in seq_len(ncol(some))) iteminfo(extract.item(full, i), theta)
  set.seed(1)
  held <- as.vector(createDataPartition(score, p = 0.1, list = FALSE))
  refit <- mirt(some[-held, ], 1, itemtype = "2PL", verbose = FALSE, technical = list(NCYCLES = 1000))
  new <- fscores(refit, method = "MAP", response.pattern = rbind(some, s$some[s$held, ]))[, "F1"]
  for (x in list(theta, new, new)) {
    d <- data.frame(score = score, theta = x[seq_along(score)])
    g <- gam(score ~ s(theta, bs = "ad"), data = d[-held, ])
    predict(g, d)
  }
}
meta <- function() {
  load("mgcv")
  d <- read.csv(at("meta", "grand-frame.csv.gz"))
  arc <- read.csv(at("meta", "specific-arc-k20.csv.gz"))
  d[c("this.l", "this.s", "target")] <- arc[c("this.l", "this.s", "target")]
  common <- c("grand.l", "grand.s", "arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande")
  for (what in strsplit(name, ",")[[1]]) {
    arc <- what == "arc20"
    k <- if (what == "grand40") 40 else 20
    x <- if (arc) c("grand.l", "grand.s", "this.l", "this.s", common[-(1:2)]) else common
    f <- reformulate(sprintf("s(%s, bs = 'ad', k = %d)", x, k), if (arc) "target" else "grand")
    g <- gam(f, data = d[d$set == "train", ])
    predict(g, d)
  }
}
switch(step, preprocess = preprocess(), split = split(), random = random(as.integer(a[5])), fit = fit(a[5]),
       select = select(), meta = meta())
