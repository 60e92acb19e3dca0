"""The card of an artifact: what it is and how to use it, in Markdown."""

from collections.abc import Mapping, Sequence

from faceswap_jax.artifacts.manifest import ONNX, SAFETENSORS, STABLEHLO, Artifact
from faceswap_jax.artifacts.parity import FACES
from faceswap_jax.artifacts.programs import Program

TITLES = {SAFETENSORS: "safetensors", STABLEHLO: "StableHLO", ONNX: "ONNX"}


def card(
    artifact: Artifact,
    programs: Mapping[str, Program],
    arithmetic: str,
    limit: float,
) -> str:
    """The text.

    Args:
        artifact: the manifest.
        programs: what the formats have, by name.
        arithmetic: type of the network's arithmetic.
        limit: of the differences.
    """
    described = artifact.description
    knows = ", ".join(described.personas) if described.personas else "anybody, by pictures"
    facts = {
        "trained as": f"{artifact.task}, {described.step:,} steps",
        "shows": knows + (", and mixes of them" if described.mixes else ""),
        **_lent(described.roles),
        "images": f"{described.resolution} px, {described.placement}"
        + (f", outline {described.outline}" if described.placement == "blended" else ""),
        "faces are cut": described.alignment,
        "weights": f"{artifact.precision}, digest {artifact.digest}",
        "arithmetic": arithmetic,
        "made": f"{artifact.made}, by "
        + ", ".join(f"{name} {version}" for name, version in artifact.by.items()),
    }
    parts = [
        "# A face model\n",
        _table(["", ""], facts.items()),
        "## Formats\n",
        _table(["format", "what is to be known"], _formats(artifact)),
        "## Parity\n",
        f"Largest differences from the checkpoint, on {FACES} rendered faces that no training has seen: of images in "
        "0..1, of latents and identities as a fraction of their largest value. An export that is off by more than "
        f"{limit:g} is not written. One in a thousand values of images may be by more; the worst is told.\n",
        parity_table(artifact.parity),
        "## Programs\n",
        _table(["program", "is given", "gives"], _programs(programs)),
        "`b` and `n` are free. Images are RGB; those that are given have 0..255. Landmarks are in pixels of the crops, "
        "in iBUG's order. `weights` has one for each persona. `drawn` are numbers of a normal distribution.\n"
        + _explained(described.roles),
    ]
    return "\n".join(parts)


def _lent(roles: Sequence[str]) -> dict[str, str]:
    """What others can lend, if anything."""
    return {"others can lend": ", ".join(roles)} if roles else {}


def _explained(roles: Sequence[str]) -> str:
    """How what is lent comes from pictures."""
    if not roles:
        return ""
    names = " and ".join(f"`{role}`" for role in roles)
    return (
        f"\nOf {names}, `images` is given a vector for each face: what the program of that name gives of the face "
        "itself, so that it stays, or of another picture. Of several pictures take the mean; of identities scale it to "
        "the length of one of them.\n"
    )


def parity_table(parity: Mapping[str, Mapping[str, float]]) -> str:
    """Differences by format and program."""
    columns = list(next(iter(parity.values())))
    rows = []
    for kind, found in parity.items():
        rows.append([TITLES[kind], *(f"{found[name]:.1e}" for name in columns)])
    return _table(["", *columns], rows)


def _formats(artifact: Artifact) -> list[tuple[str, str]]:
    told = []
    for kind, facts in artifact.formats.items():
        each = "; ".join(
            f"{name.replace('_', ' ')} {_plain(value)}" for name, value in facts.items()
        )
        told.append((TITLES[kind], each))
    return told


def _plain(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _programs(programs: Mapping[str, Program]) -> list[tuple[str, str, str]]:
    rows = []
    for name, program in programs.items():
        given = [
            f"`{array}` {each.dtype} [{', '.join(map(str, each.shape))}]"
            for array, each in program.inputs.items()
        ]
        rows.append((name, ", ".join(given), ", ".join(f"`{name}`" for name in program.outputs)))
    return rows


def _table(head: Sequence[str], rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
