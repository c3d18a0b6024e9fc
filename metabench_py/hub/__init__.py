"""The Hugging Face Hub: what to fetch (pure) and how (`transport`, the only network part).

`sources` and `listing` say which files hold a model's answers, `details_file` reads them,
`ledger` remembers what is done, `scrape` runs the whole, `assemble` writes the matrices.
`leaderboard`, `prompts` and `model_details` do the same for the other tables, `zenodo` gets the
published data set. The client (`huggingface_hub`) is an extra: it loads on first use.
"""
