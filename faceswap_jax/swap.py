"""The verb `swap`: personas' faces, or others' identity and expression, in a picture or a clip."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from faceswap_jax.artifacts.models import load
from faceswap_jax.editing.edits import Edits
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, blend
from faceswap_jax.faces.people import Person, nearest, person_of
from faceswap_jax.inference.audience import tell
from faceswap_jax.inference.clip import (
    AS_TOLD,
    Coding,
    Count,
    Replacement,
    check_output,
    find_people,
    identity_of,
    swap_clip,
)
from faceswap_jax.inference.generator import Generator, Identity
from faceswap_jax.inference.who import who_is
from faceswap_jax.roles.lending import check_lenders, expression_of


def swap(
    workdir: Path,
    persona: str | None,
    source: Path,
    output: Path,
    method: str = blend.DEFAULT_METHOD,
    step: int | None = None,
    identity: Sequence[Path] = (),
    **choices,
) -> Count:
    """Gives somebody's face to a person of a picture or clip, or several faces to several.

    Args:
        workdir: folder of a trained run, or of an artifact.
        persona: one of its personas; None if `identity` or `personas` say whom to show, or `expression` changes the
            performers.
        source: picture or clip of the performers.
        output: picture, or clip with the source's frame rate and sound.
        method: of blending, see `faces.blend.blend`.
        step: which checkpoint to use, by its number of steps; the newest if not given.
        identity: pictures or clips of the person to show, if the run knows no personas by name.
        **choices: other arguments of `swap_with`.

    Raises:
        InputError: any of these cannot be used, or no frame shows a face. Nothing is written then.
    """

    def open_run() -> Generator:
        generator = load(workdir, step)
        if generator.placement != "blended":
            raise InputError(
                f"'{workdir}' makes whole images, which are not blended into a clip; use 'faceswap "
                "reenact'."
            )
        return generator

    return swap_with(open_run, persona, source, output, method, identity, **choices)


def swap_with(
    open_generator: Callable[[], Generator],
    persona: str | None,
    source: Path,
    output: Path,
    method: str = blend.DEFAULT_METHOD,
    identity: Sequence[Path] = (),
    *,
    expression: Sequence[Path] = (),
    face: int | None = None,
    reference: Path | None = None,
    personas: Mapping[int, str] | None = None,
    outline: str | None = None,
    edits: Edits | None = None,
    coding: Coding = AS_TOLD,
) -> Count:
    """Does what `swap` does, with any generator.

    Args:
        open_generator: gives one of placement "blended"; called when all that can be wrong without it is checked.
        persona: as for `swap`.
        source: as for `swap`.
        output: as for `swap`.
        method: as for `swap`.
        identity: as for `swap`.
        expression: pictures of somebody whose expression the faces take on, or a clip whose largest face drives them;
            where nothing says whom to show, the performers themselves are.
        face: number of the person in `source` whose face is replaced, see `faces.people.find_people`; the one who
            fills most of it if nobody is chosen.
        reference: picture or clip of that person, in place of the number.
        personas: in place of `persona` and `face`: whom to show, by the number of the face.
        outline: of the face, see `faces.align.face_polygon`; the generator's own if not given.
        edits: what is changed of the performances.
        coding: of clips.

    Raises:
        InputError: as `swap`.
    """
    blend.check_method(method)
    if outline is not None:
        align.check_outline(outline)
    check_output(source, output, coding=coding)
    check_lenders(expression, source)
    chosen = _check_choice(face, reference, personas, bool(persona or identity))
    generator = open_generator()
    if edits:
        edits.check(generator)

    # What is lent, and whom to show, by number of the face
    lent = expression_of(generator, expression, source) if expression else None
    identities = {}
    for number, name in (personas or {face or 0: persona}).items():
        identities[number] = _shown(generator, name, identity, stays=lent is not None)

    # Whose faces these are
    wanted = None if reference is None else identity_of(reference)
    people = find_people(source, coding.colorspace)
    if wanted is not None:
        identities = {nearest(people, wanted): identities[0]}
    elif not chosen and len(people) > 1:
        _tell_of_others(source, people)
    shifts = edits.of_faces(identities) if edits else {}
    only_changes = edits is not None and edits.only_changes
    replacements = []
    for number, shown in identities.items():
        person = person_of(source, people, number)
        replacements.append(Replacement(person, shown, shifts.get(number), only_changes, lent))
    return swap_clip(generator, replacements, source, output, method, outline, coding)


def _shown(
    generator: Generator, persona: str | None, sources: Sequence[Path], stays: bool
) -> Identity:
    """The identity to show; if nobody is named, the performer's own where that `stays`."""
    if persona is None and not sources:
        if stays:
            return {}
        if generator.roles:
            roles = " or ".join(f"--{role}" for role in generator.roles)
            raise InputError(f"Say who lends what: pictures or clips of somebody for {roles}.")
    return generator.identity(who_is(generator, persona, sources))


def _check_choice(
    face: int | None, reference: Path | None, personas: Mapping[int, str] | None, shown: bool
) -> bool:
    """Whether it is said whose face is replaced.

    Args:
        face: number of the face.
        reference: picture of it.
        personas: whom to show, by the number of the face.
        shown: whether it is also said otherwise whom to show.

    Raises:
        InputError: something is said twice.
    """
    if personas and shown:
        raise InputError(
            "--personas says already whom to show; leave --persona and --identity out."
        )
    ways = [face is not None, reference is not None, bool(personas)]
    if sum(ways) > 1:
        raise InputError("Choose faces in one way: with --face, --reference or --personas.")
    return any(ways)


def _tell_of_others(source: Path, people: Sequence[Person]) -> None:
    """Says that somebody else could have been meant."""
    tell(
        f"{source} shows {len(people)} people; face 0, who fills most of it, is replaced. "
        f"'faceswap people {source} --output people.png' shows their numbers; --face chooses."
    )
