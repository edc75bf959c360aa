"""Modules that every other folder uses: errors, files, signals, output, the command line, paths."""
