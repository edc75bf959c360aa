"""What every other folder uses: errors, files, progress, the command line."""
