"""The package's one error for everything a user can put right."""


class InputError(Exception):
    """Bad input: one line that says which file or flag, what was found, what was expected and what to do.

    The command line prints it on stderr without a traceback and ends with exit status 2.
    """
