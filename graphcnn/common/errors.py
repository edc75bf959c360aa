"""The package's one error for everything a user can put right."""

import difflib


class InputError(Exception):
    """Bad input: one line that says which file or flag, what was found, what was expected and what to do.

    The command line prints it on stderr without a traceback and ends with exit status 2.
    """


def unknown_name(name, names):
    """Return "unknown name 'x'; did you mean 'y'? (a, b, c)" for an error line."""
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown name {name!r}; {hint}(expected one of: {', '.join(names)})"
