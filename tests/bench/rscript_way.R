# What the original's users run, to time it: one Rscript process that loads mirt and mgcv, reads
# the released fits (version B), one LLM's logs, and predicts the seven scores.
#
# Run: Rscript rscript_way.R FOLDER_OF_RELEASED_FITS FOLDER_OF_LOGS
# Logs are read by patterns in base R, which is faster than any JSON package for R.

suppressMessages({
  library(mirt)
  library(mgcv)
})
given <- commandArgs(trailingOnly = TRUE)
fits <- given[1L]
logs <- given[2L]
benchmarks <- c("arc", "gsm8k", "hellaswag", "mmlu", "truthfulqa", "winogrande")

found <- function(pattern, lines) {
  sub(pattern, "\\1", regmatches(lines, regexpr(pattern, lines, perl = TRUE)), perl = TRUE)
}

features <- list()
for (b in benchmarks) {
  fit <- readRDS(list.files(file.path(fits, "reduced"), paste0("^", b, "-"), full.names = TRUE))
  linear <- readRDS(file.path(fits, "lms", paste0("lm-", b, "-seed=1.rds")))$model
  path <- list.files(logs, paste0("_", b, "_secondary_20.*jsonl$"), full.names = TRUE)
  lines <- readLines(path, warn = FALSE)
  metric <- if (b == "gsm8k") "exact_match" else "acc"
  item <- found("\"metabench_idx\": ?([0-9]+)", lines)
  if (b == "mmlu") item <- paste0(found("\"subject\": ?\"([^\"]+)\"", lines), ".", item)
  right <- as.integer(as.double(found(paste0("\"", metric, "\": ?([0-9.]+)"), lines)))
  # GSM8K has two rows an item, the first counts.
  right <- right[!duplicated(item)]
  names(right) <- unique(item)
  items <- colnames(extract.mirt(fit$model, "data"))
  # Twice the LLM: mirt's sum scores fail on a single pattern.
  answers <- rbind(right[items], right[items])
  colnames(answers) <- items
  method <- if (b %in% c("gsm8k", "truthfulqa")) "EAPsum" else "MAP"
  theta <- fscores(fit$model, method = method, response.pattern = answers, verbose = FALSE,
                   append_response.pattern = FALSE, use_dentype_estimate = method == "EAPsum")
  features[[b]] <- theta[1L, 1L]
  features[[paste0(b, ".l")]] <- predict(linear, as.data.frame(answers, optional = TRUE))[[1L]]
  features[[paste0(b, ".s")]] <- 100 * mean(answers[1L, ])
}
for (kind in c(".l", ".s")) {
  features[[paste0("grand", kind)]] <- mean(unlist(features[paste0(benchmarks, kind)]))
}
for (target in c("grand", benchmarks)) {
  gam <- readRDS(file.path(fits, "gams", paste0("gam-", target, "-seed=1.rds")))$model
  own <- features[paste0(target, c(".l", ".s"))]
  names(own) <- c("this.l", "this.s")
  score <- predict(gam, as.data.frame(c(features, own)))
  cat(target, format(min(max(score, 0), 100), digits = 10), "\n")
}
