"""Bundles: everything that turns responses into scores, as one portable folder."""

from metabench_py.bundle.read import default_bundle_path, load_bundle, resolve_bundle
from metabench_py.bundle.schema import BenchmarkModel, Bundle

__all__ = ["BenchmarkModel", "Bundle", "default_bundle_path", "load_bundle", "resolve_bundle"]
