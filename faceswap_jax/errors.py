"""What users see of failures: one sentence without a traceback, and an exit code."""


class UserError(Exception):
    """Something that a person can mend: the message names what is wrong and the remedy."""

    exit_code: int


class InputError(UserError):
    """Something the user gave cannot be used. The message names the file, the value and the remedy."""

    exit_code = 2


class DivergedError(UserError):
    """The training has left the finite numbers; the same command would do so again."""

    exit_code = 1


class JobError(UserError):
    """Several processes cannot go on together, for example because one has ended; starting the job again helps."""

    exit_code = 3
