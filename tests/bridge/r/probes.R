# Functions that do what ours must never do, to see what the bridge makes of it.

probe_identity <- function(value) value

probe_class <- function(value) class(value)

probe_is_na <- function(value) is.na(value)

probe_describe <- function(value) {
  list(typeof = typeof(value), dim = dim(value), colnames = colnames(value),
       n_missing = sum(is.na(value)), total = sum(value, na.rm = TRUE))
}

probe_stop <- function(message) stop(message)

probe_custom <- function() {
  stop(structure(class = c("no_such_llm", "error", "condition"),
                 list(message = "nobody of that name", call = NULL)))
}

probe_warn <- function(times) {
  for (i in seq_len(times)) warning("slope ", i %% 2L)
  "done"
}

probe_message <- function() {
  message("for stderr")
  cat("for stdout\n")
  print("for stdout")
  TRUE
}

probe_recurse <- function(n) probe_recurse(n + 1)

probe_break_off <- function() invokeRestart("abort")

probe_values <- function() {
  list(
    whole = c(1L, 2L), whole_na = c(1L, NA), flag = c(TRUE, FALSE), flag_na = c(TRUE, NA),
    double = c(0.5, NA, Inf), text = c("a", NA, "\u00e9"), nothing = NULL,
    empty = list(integer(), double(), character(), logical()),
    factor = factor(c("low", NA, "high"), levels = c("low", "high")),
    matrix = matrix(1:6, 2L), frame = data.frame(x = 1:2, y = c("p", "q")),
    nested = list(a = list(b = 1)), unnamed = list(1L, "x"),
    formula = y ~ x, function_ = sum, date = as.Date("2024-11-26")
  )
}

# The value stays in R, so that a change of a copy in Python would show here.
probe_box <- new.env()

probe_keep <- function(value) {
  probe_box$value <- value
  TRUE
}

probe_kept <- function() probe_box$value

probe_session <- function() {
  list(
    objects = ls(globalenv(), all.names = TRUE), option = getOption("metabench.poison"),
    interactive = interactive(), libraries = .libPaths(), arguments = commandArgs()
  )
}

probe_die <- function(signal) {
  tools::pskill(Sys.getpid(), signal)
  Sys.sleep(10)
}

probe_quit <- function(status) quit("no", status)

probe_loop <- function(path) {
  writeLines(as.character(Sys.getpid()), path)
  repeat sqrt(2)
}

probe_state <- function() {
  list(seed = get0(".Random.seed", globalenv(), inherits = FALSE), kind = RNGkind())
}

probe_generator <- function(kind, sample_kind) {
  # The old sampling kind warns.
  suppressWarnings(RNGkind(kind, sample.kind = sample_kind))
  TRUE
}

probe_forget_state <- function() {
  if (exists(".Random.seed", globalenv(), inherits = FALSE)) {
    rm(".Random.seed", envir = globalenv())
  }
  TRUE
}
