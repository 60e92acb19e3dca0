"""The one exception that users see."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence that names the file, the value and the remedy; the command line prints it without a
    traceback and exits with code 2.
    """
