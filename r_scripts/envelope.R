# Runs a function and gives its outcome as data: conditions never cross the border as such.
run_enveloped <- function(fun, args) {
  warned <- character()
  outcome <- tryCatch(
    withCallingHandlers(
      list(ok = TRUE, value = do.call(fun, args, quote = TRUE)),
      warning = function(w) {
        warned <<- c(warned, conditionMessage(w))
        invokeRestart("muffleWarning")
      },
      message = function(m) invokeRestart("muffleMessage")
    ),
    error = function(e) {
      list(ok = FALSE, class = class(e), message = conditionMessage(e))
    }
  )
  outcome$warnings <- unique(warned)
  outcome
}

# Loads what later calls need.
load_package <- function(name) {
  loadNamespace(name)
  NULL
}
