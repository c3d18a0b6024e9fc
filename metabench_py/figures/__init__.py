"""The paper's figures: each has a name, says which data it needs, and is built from them."""
