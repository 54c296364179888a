"""Bayesian calibration of an endpoint: its bias is learned, and what is said makes up for it."""

from __future__ import annotations

from rddg_ray.calibration.calibrator import Calibrator
from rddg_ray.calibration.diagnostics import CalibrationRecord
from rddg_ray.calibration.rates import AcceptanceRate
from rddg_ray.calibration.state import CalibrationState
from rddg_ray.calibration.summary import Summary

__all__ = ["AcceptanceRate", "CalibrationRecord", "CalibrationState", "Calibrator", "Summary"]
