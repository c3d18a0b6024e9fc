# What this R is: its version, its linear algebra, and which packages load.
doctor_facts <- function(packages) {
  state <- lapply(packages, function(package) {
    if (!length(find.package(package, quiet = TRUE))) {
      return(list(version = NA_character_, problem = "not installed"))
    }
    problem <- tryCatch({
      suppressWarnings(suppressMessages(loadNamespace(package)))
      NA_character_
    }, error = conditionMessage)
    version <- utils::packageDescription(package, fields = "Version")
    list(version = as.character(version)[1L], problem = problem)
  })
  names(state) <- packages
  software <- extSoftVersion()
  list(
    version = as.character(getRversion()),
    home = R.home(),
    # Names of files; empty where R cannot tell.
    blas = if ("BLAS" %in% names(software)) software[["BLAS"]] else "",
    lapack = La_library(),
    packages = state
  )
}
