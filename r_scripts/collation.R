# String order as R gives it under most locales: the root order of ICU, whatever the locale here.

collation_order <- function(texts) {
  if (!isTRUE(capabilities("ICU"))) stop("this R was built without ICU")
  before <- icuGetCollate()
  icuSetCollate(locale = "root")
  # Without a collator R compares bytes or asks the C library; "none" goes back to that.
  on.exit(icuSetCollate(locale = if (before == "ICU not in use") "none" else before))
  # The same method as merge() and sort() take for texts.
  order(enc2utf8(texts), method = "shell")
}
