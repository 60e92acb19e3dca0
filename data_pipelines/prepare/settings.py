"""What `faceswap prepare` can be told about the data set: one field per flag, stored in the manifest."""

import dataclasses
from typing import Any, Self

from absl import flags

from faceswap_jax.errors import InputError

IMAGE_CODECS = ("jpeg", "png", "png16")
RESOLUTIONS = tuple(2**i for i in range(4, 11))


def _field(default: Any, meaning: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": meaning})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything besides the clips that decides what the data set holds.

    Attributes are the flags of `faceswap prepare`; the text of each is its help. Zero switches a limit, a cap or an
    interval off, except --max_outside, which 1 does.
    """

    resolution: int = _field(
        256, "Side in pixels, a power of two, of the aligned crops that the records are made for."
    )
    image: str = _field(
        "jpeg", "How crops are stored: jpeg, png, or png16 with 16 bits per channel."
    )
    quality: int = _field(95, "JPEG quality, 1 to 100.")
    sound: bool = _field(True, "Store the sound of every track, 16 kHz mono.")

    colorspace: str = _field(
        "",
        "Colour space of the clips where their files do not tell it, such as 'S-Log3 S-Gamut3.Cine'.",
    )
    interval: float = _field(0.0, "Seconds between the frames that are looked at; 0: every frame.")
    frames: int = _field(0, "Most frames that are looked at in a clip; 0: all.")
    faces: str = _field(
        "largest",
        "Which faces to keep: largest, those of one person, by default who fills most of the clips; or all.",
    )
    beta: float = _field(
        0.05,
        "Shift of the face box for the nine-fold landmarks, in box widths; 0: one pass, faster.",
    )
    cut: float = _field(
        20.0,
        "Change of content, 0 to 255, that is a shot change where the colours change, too; 0: never.",
    )

    min_confidence: float = _field(0.5, "Drop faces that the detector is less sure of, 0 to 1.")
    min_size: float = _field(8.0, "Drop faces whose eyes are closer than this, frame pixels.")
    min_sharpness: float = _field(
        2.5, "Drop more blurred crops: least variance of the second derivative; 6 is strict."
    )
    max_yaw: float = _field(60.0, "Drop heads turned further left or right, degrees; 0: keep all.")
    max_pitch: float = _field(45.0, "Drop heads turned further up or down, degrees; 0: keep all.")
    max_outside: float = _field(
        0.05, "Drop faces of which a larger fraction lies outside the frame, 0 to 1."
    )
    min_change: float = _field(
        0.1, "Drop near-duplicates: crops that differ less from the one before, grey levels."
    )

    splits: tuple[int, ...] = _field(
        (100, 0, 0), "Percent of identities for training, validation, test."
    )
    max_videos: int = _field(0, "Most videos of an identity, drawn at random; 0: all.")
    clips_per_shard: int = _field(
        8, "Clips of a persona that share a file; what a crash or a kill can cost."
    )
    seed: int = _field(0, "Of the splits and of the videos drawn.")

    def __post_init__(self) -> None:
        """Raises InputError, naming the flag, its value and the remedy, if a value makes no sense."""
        is_power = self.resolution in RESOLUTIONS
        are_percent = len(self.splits) == 3 and sum(self.splits) == 100 and min(self.splits) >= 0
        demands = {
            "resolution": (is_power, "a power of two between 16 and 1024"),
            "image": (self.image in IMAGE_CODECS, f"one of {', '.join(IMAGE_CODECS)}"),
            "quality": (1 <= self.quality <= 100, "between 1 and 100"),
            "faces": (self.faces in ("largest", "all"), "largest or all"),
            "beta": (0 <= self.beta <= 0.2, "between 0 and 0.2"),
            "min_confidence": (0 <= self.min_confidence <= 1, "between 0 and 1"),
            "max_outside": (0 <= self.max_outside <= 1, "between 0 and 1"),
            "splits": (are_percent, "like 75,15,10"),
            "clips_per_shard": (self.clips_per_shard >= 1, "1 or more"),
        }
        for field in dataclasses.fields(self):
            if field.type in (int, float) and field.name not in demands:
                demands[field.name] = getattr(self, field.name) >= 0, "0 or more"
        for name, (good, wanted) in demands.items():
            if not good:
                value = _text(getattr(self, name))
                raise InputError(f"--{name}={value} cannot be used; it must be {wanted}.")

    @classmethod
    def define_flags(cls, values: flags.FlagValues) -> None:
        """Defines one flag per field."""
        define = {
            bool: flags.DEFINE_boolean,
            int: flags.DEFINE_integer,
            float: flags.DEFINE_float,
            str: flags.DEFINE_string,
        }
        for field in dataclasses.fields(cls):
            meaning = field.metadata["help"]
            if field.type in define:
                define[field.type](field.name, field.default, meaning, flag_values=values)
            else:
                default = [str(value) for value in field.default]
                flags.DEFINE_list(field.name, default, meaning, flag_values=values)

    @classmethod
    def from_flags(cls, values: flags.FlagValues) -> Self:
        """The settings that parsed flags give.

        Raises:
            InputError: a value makes no sense.
        """
        fields = {field.name: getattr(values, field.name) for field in dataclasses.fields(cls)}
        try:
            fields["splits"] = tuple(int(percent) for percent in fields["splits"])
        except ValueError as error:
            raise InputError(
                f"--splits={','.join(fields['splits'])} cannot be used; it must be like 75,15,10."
            ) from error
        return cls(**fields)

    def differences(self, other: dict[str, Any]) -> list[str]:
        """One text "--flag: theirs -> ours" for every value that differs from stored settings."""
        mine = self.to_json()
        return [
            f"--{name}: {_text(other.get(name))} -> {_text(value)}"
            for name, value in mine.items()
            if other.get(name) != value
        ]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as the manifest holds them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
