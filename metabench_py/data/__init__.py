"""Response data on disk: is it usable (`check`), and in which form (`convert`)."""
