"""The exceptions that users see, each as one sentence."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence that names the file, the value and the remedy; the command line prints it without a
    traceback and exits with code 2.
    """


class JobError(Exception):
    """Several processes cannot go on together, for example because one has ended; starting the job again helps.

    The message is printed without a traceback; exit code 3.
    """
