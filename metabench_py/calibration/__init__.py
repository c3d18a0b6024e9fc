"""Calibration: from response matrices and full scores to a bundle."""

from metabench_py.calibration.inputs import CalibrationInputs, load_inputs
from metabench_py.calibration.pipeline import (
    CalibrationOptions,
    Description,
    calibrate,
    calibrate_bundle,
)

__all__ = [
    "CalibrationInputs",
    "CalibrationOptions",
    "Description",
    "calibrate",
    "calibrate_bundle",
    "load_inputs",
]
