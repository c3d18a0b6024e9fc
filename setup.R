# Installs the R packages that metabench-py can use, from the mirror that this R is set up for.
#
#   Rscript setup.R                    install what is missing, then print a table
#   Rscript setup.R mirt               only this, which is then required
#   Rscript setup.R --check [...]      print the table, install nothing
#
# What is there stays as it is, also in its version. The exit status is 0 if what is required
# (mgcv, and the packages that are named) is there and loads, else 1.

# Package, what it is for, and what its absence costs.
wanted <- list(
  c("mgcv", "second stage: fits GAMs, predicts scores",
    "required: no calibration; scores by portable splines only"),
  c("mirt", "item response models as the original fits them",
    "the native engine does it; --engine mirt does not run"),
  c("caret", "stratified splits as the original draws them",
    "nothing: base R draws the same"),
  c("psych", "factor analysis of abilities", "the native engine does it"),
  c("GPArotation", "oblique rotation for psych", "the native engine does it"),
  c("catR", "adaptive testing as the original simulates it", "simulations by catR do not run"),
  c("rBayesianOptimization", "the original's search for item selection",
    "that search does not run")
)
required <- "mgcv"
in_debian <- c("mgcv", "caret", "psych", "GPArotation")

say <- function(...) cat(..., "\n", sep = "", file = stderr())

# The loaded version, or why there is none.
look_up <- function(package) {
  if (!length(find.package(package, quiet = TRUE))) return(list(version = "", state = "missing"))
  version <- tryCatch(utils::packageDescription(package, fields = "Version"),
                      error = function(e) "")
  problem <- tryCatch({
    suppressWarnings(suppressMessages(loadNamespace(package)))
    NULL
  }, error = conditionMessage)
  if (!is.null(problem)) say(package, " does not load: ", problem)
  list(version = version, state = if (is.null(problem)) "present" else "does not load")
}

# Where to install: the first library that is writable, else the user's own, which is made.
choose_library <- function() {
  writable <- .libPaths()[file.access(.libPaths(), 2L) == 0L]
  if (length(writable)) return(writable[1L])
  user <- strsplit(Sys.getenv("R_LIBS_USER"), .Platform$path.sep, fixed = TRUE)[[1L]]
  user <- path.expand(user[nzchar(user) & user != "NULL"])
  if (!length(user)) stop("no library is writable and R_LIBS_USER is not set", call. = FALSE)
  if (!dir.exists(user[1L]) && !dir.create(user[1L], recursive = TRUE, showWarnings = FALSE)) {
    stop("no library is writable, and ", user[1L], " cannot be made", call. = FALSE)
  }
  .libPaths(c(user[1L], .libPaths()))
  user[1L]
}

# The configured mirror, else the first of R's own list.
choose_mirror <- function() {
  repos <- getOption("repos")
  if (!length(repos) || "@CRAN@" %in% repos) {
    say("No CRAN mirror is configured; R takes the first of its own list.")
    utils::chooseCRANmirror(ind = 1L)
  }
  getOption("repos")
}

# What the mirror has; NULL if it cannot be reached. R says so with warnings.
look_at_mirror <- function(repos, missing) {
  reasons <- character()
  index <- withCallingHandlers(
    tryCatch(utils::available.packages(repos = repos), error = function(e) {
      reasons <<- c(reasons, conditionMessage(e))
      NULL
    }),
    warning = function(w) {
      reasons <<- c(reasons, conditionMessage(w))
      invokeRestart("muffleWarning")
    }
  )
  if (!is.null(index) && nrow(index) > 0L) return(rownames(index))
  say("The mirror cannot be reached or is empty: ", paste(repos, collapse = ", "))
  # R tries three names of the index; the last will do.
  reasons <- grep("PACKAGES\\.(rds|gz)", reasons, value = TRUE, invert = TRUE)
  for (reason in unique(trimws(reasons))) say("  ", gsub("\n *", " ", reason))
  say("Nothing was installed. Name a mirror that this machine reaches in ~/.Rprofile:\n",
      "  options(repos = c(CRAN = \"...\"))")
  if (length(packaged <- intersect(missing, in_debian))) {
    say("or, on Debian or Ubuntu: apt-get install ", paste0("r-cran-", packaged, collapse = " "))
  }
  NULL
}

install_missing <- function(missing) {
  library_folder <- choose_library()
  has <- look_at_mirror(choose_mirror(), missing)
  if (is.null(has)) return(invisible())
  absent <- setdiff(missing, has)
  if (length(absent)) say("The mirror does not have: ", paste(absent, collapse = ", "))
  missing <- intersect(missing, has)
  if (!length(missing)) return(invisible())
  say("Installing ", paste(missing, collapse = ", "), " into ", library_folder, " ...")
  # Sources of a compiler-hungry package may be large, and the mirror far.
  options(timeout = max(600, getOption("timeout")))
  cores <- suppressWarnings(parallel::detectCores())
  failed <- character()
  withCallingHandlers(
    tryCatch(
      utils::install.packages(missing, lib = library_folder,
                              Ncpus = if (is.na(cores)) 1L else min(cores, 4L)),
      error = function(e) failed <<- c(failed, conditionMessage(e))
    ),
    warning = function(w) {
      failed <<- c(failed, conditionMessage(w))
      invokeRestart("muffleWarning")
    }
  )
  for (reason in unique(trimws(failed))) say(gsub("\n *", " ", reason))
  left <- missing[!vapply(missing, function(p) length(find.package(p, quiet = TRUE)) > 0L, NA)]
  if (length(left)) {
    say("Not installed: ", paste(left, collapse = ", "), ". The lines above say why; compilers ",
        "and headers come with r-base-dev on Debian or Ubuntu.")
  }
}

print_table <- function(rows, found) {
  present <- vapply(found, function(f) f$state == "present", NA)
  cells <- rbind(
    c("package", "version", "needed for", "state", "without it"),
    cbind(
      vapply(rows, `[`, "", 1L), vapply(found, `[[`, "", "version"), vapply(rows, `[`, "", 2L),
      vapply(found, `[[`, "", "state"), ifelse(present, "", vapply(rows, `[`, "", 3L))
    )
  )
  cells <- apply(cells, 2L, format)
  cat(trimws(apply(cells, 1L, paste, collapse = "  "), "right"), sep = "\n")
}

main <- function(arguments) {
  check <- "--check" %in% arguments
  names <- setdiff(arguments, "--check")
  known <- vapply(wanted, `[`, "", 1L)
  if (length(odd <- setdiff(names, known))) {
    say("Not known here: ", paste(odd, collapse = ", "), ". Usage: Rscript setup.R [--check] [",
        paste(known, collapse = "] ["), "]")
    return(2L)
  }
  rows <- if (length(names)) wanted[known %in% c(names, required)] else wanted
  packages <- vapply(rows, `[`, "", 1L)
  is_missing <- vapply(packages, function(p) !length(find.package(p, quiet = TRUE)), NA)
  if (any(is_missing) && !check) {
    tryCatch(install_missing(packages[is_missing]),
             error = function(e) say("Nothing was installed: ", conditionMessage(e), "."))
  }
  found <- lapply(packages, look_up)
  print_table(rows, found)
  states <- vapply(found, `[[`, "", "state")
  if (all(states[packages %in% c(required, names)] == "present")) 0L else 1L
}

quit("no", main(commandArgs(trailingOnly = TRUE)))
