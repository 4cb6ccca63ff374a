"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Something given by the user cannot be used.

    The message is one line that names what was wrong, what was expected and what to do.
    The command line prints it without a traceback and exits with 2; tasks never retry it.
    """
