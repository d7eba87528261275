"""The harness behind `make bench`: what it costs to publish events and to merge what is put aside.

Each suite is a module with a function ``measure(bench)``, registered in :mod:`benchmarks.__main__`. It fills databases
of its own on one embedded PostgreSQL, runs jobs in processes of their own, and adds figures and ratios to the results.
"""
