"""Suites and sweeps: they train many experiments and write one report."""
