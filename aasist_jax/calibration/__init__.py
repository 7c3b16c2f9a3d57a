"""Calibration: turns scores into log-likelihood ratios."""
