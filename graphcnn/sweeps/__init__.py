"""Suites and sweeps: many trainings and their report."""
