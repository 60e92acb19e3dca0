"""What a client wants done, and doing it as `faceswap swap` and `faceswap reenact` do."""

import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from faceswap_jax.errors import InputError
from faceswap_jax.faces import blend
from faceswap_jax.inference.audience import told_to
from faceswap_jax.inference.clip import reenact_clip
from faceswap_jax.inference.generator import Generator
from faceswap_jax.inference.who import who_is
from faceswap_jax.serving.refusal import BUSY, TOO_LARGE, UNUSABLE, Refusal
from faceswap_jax.serving.uploads import Clip
from faceswap_jax.swap import swap_with

READINGS = 2
"""How often a clip is read: who is in it, and to change it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Choices:
    """How a swap or a reenactment is done; the fields are the flags of the commands.

    Attributes:
        persona: whom to show, or a mix; None if pictures show that.
        face: number of the person whose face is replaced.
        blend: how it is blended in.
        outline: of the face.
        restore_mouth: whether an open mouth's inside is the performer's.
    """

    persona: str | None = None
    face: int | None = None
    blend: str | None = None
    outline: str | None = None
    restore_mouth: bool = False


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Attributes:
        folder: of all the files; their names in it may be told to the client, and the folder may not.
        source: picture or clip of the performer.
        pictures: of the person to show.
        output: file to write.
        choices: how.
    """

    folder: Path
    source: Path
    pictures: Sequence[Path]
    output: Path
    choices: Choices

    def within(self, folder: Path) -> "Order":
        """The same, where its files lie in another folder."""
        return Order(
            folder,
            folder / self.source.name,
            [folder / picture.name for picture in self.pictures],
            folder / self.output.name,
            self.choices,
        )


class Stopped(Exception):
    """Somebody does not want the result any more."""


@dataclass
class Watch:
    """Sees how far an order is, and stops it.

    Attributes:
        clip: what was admitted.
        deadline: on the clock of `time.monotonic`; None for no end.
        done: frames, of both readings.
    """

    clip: Clip
    deadline: float | None = None
    done: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return min(self.done / (READINGS * self.clip.frames), 1.0)

    def stop(self) -> None:
        """Ends the order at the next frame."""
        self._stop.set()

    def check(self) -> None:
        """Raises Stopped or Refusal if the order is not to go on."""
        if self._stop.is_set():
            raise Stopped
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise Refusal(BUSY, "The server has no time for this now; try again later.", 5)

    def admitted(self, frames: Iterable[T]) -> Iterable[T]:
        """See `Audience.admitted`; a clip whose frames grow beyond what was admitted is not read on."""
        for frame in frames:
            height, width = frame.image.shape[:2]
            if height * width > self.clip.pixels:
                raise Refusal(
                    TOO_LARGE, "The clip's frames grow on the way; export it at one size."
                )
            yield frame

    def watched(self, items: Iterable[T], what: str, total: int) -> Iterable[T]:
        """See `Audience.watched`."""
        for item in items:
            self.check()
            self.done += 1
            yield item

    def tell(self, text: str) -> None:
        """See `Audience.tell`; nobody is told."""


def carry_out(generator: Generator, order: Order, watch: Watch) -> None:
    """Writes the result of an order.

    Raises:
        Refusal: what was sent cannot be used.
        Stopped: nobody wants it any more.
    """
    with told_to(watch):
        try:
            watch.check()
            if generator.placement == "blended":
                _swap(generator, order)
            else:
                _reenact(generator, order)
        except InputError as error:
            raise Refusal(UNUSABLE, in_clients_words(str(error), order)) from error


def check_who(generator: Generator, order: Order) -> None:
    """Raises Refusal if the model cannot show the persona that is asked for; pictures are looked at later."""
    if order.pictures:
        return
    try:
        generator.identity(who_is(generator, order.choices.persona, ()))
    except InputError as error:
        raise Refusal(UNUSABLE, in_clients_words(str(error), order)) from error


def in_clients_words(sentence: str, order: Order) -> str:
    """A sentence of the commands without folders of this machine, flags and commands, of which clients have none."""
    sentence = sentence.replace(f"{order.folder}/", "")
    sentence = re.sub(r"; 'faceswap people .*", ".", sentence, flags=re.DOTALL)
    sentence = sentence.replace(order.source.name, "what was sent")
    sentence = re.sub(r"--(\w)", r"\1", sentence)
    return sentence[:1].upper() + sentence[1:]


def _swap(generator: Generator, order: Order) -> None:
    choices = order.choices
    if choices.restore_mouth:
        raise Refusal(UNUSABLE, "This model swaps faces; leave restore_mouth out.")
    swap_with(
        lambda: generator,
        choices.persona,
        order.source,
        order.output,
        choices.blend or blend.DEFAULT_METHOD,
        order.pictures,
        face=choices.face,
        outline=choices.outline,
    )


def _reenact(generator: Generator, order: Order) -> None:
    choices = order.choices
    for name in ("face", "blend", "outline"):
        if getattr(choices, name) is not None:
            raise Refusal(UNUSABLE, f"This model makes whole images; leave {name} out.")
    identity = generator.identity(who_is(generator, choices.persona, order.pictures))
    reenact_clip(generator, identity, order.source, order.output, choices.restore_mouth)
