"""Fitting and scoring of learned models."""
