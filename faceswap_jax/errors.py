"""The exceptions that users see, each as one sentence."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence that names the file, the value and the remedy; the command line prints it without a
    traceback and exits with code 2.
    """


class LostProcessError(Exception):
    """Another process of a job of several has ended, so that this one cannot go on; exit code 3."""
