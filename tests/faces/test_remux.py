"""What lies beside the frames of a clip comes through: sound of any codec, subtitles, languages, titles, chapters."""

import logging
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from faceswap_jax.faces import audio, encode, video
from tests.support.face_scenes import smooth_picture

pytestmark = pytest.mark.usefixtures("quiet")

FRAMES = 50


def write_clip(
    path: Path,
    codecs: tuple[str, ...] = ("aac",),
    video_codec: str = "libx264",
    options: dict[str, str] | None = None,
    describe=lambda container: None,
) -> Path:
    """Two seconds with a tone for each codec; `describe` may add to the container before its header is written."""
    with av.open(str(path), "w", container_options=options or {}) as container:
        images = container.add_stream(video_codec, rate=25)
        images.width, images.height, images.pix_fmt = 64, 48, "yuv420p"
        rate = 48000 if path.suffix == ".mxf" else 22050
        sound = {"rate": rate, "layout": "stereo", "bit_rate": 64000}
        sounds = [container.add_stream(codec, **sound) for codec in codecs]
        packets = describe(container) or []
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(smooth_picture(48, 64, index / 9), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            packets += images.encode(frame)
        packets += images.encode(None)
        for number, stream in enumerate(sounds):
            packets += tone(stream, 200 * (number + 1))
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def tone(stream: av.AudioStream, pitch: float) -> list[av.Packet]:
    """Packets of a tone of two seconds that begins after half a second of silence."""
    rate = stream.codec_context.sample_rate
    time = np.arange(2 * rate) / rate
    wave = np.where(time < 0.5, 0, 0.5 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    return stream.encode(frame) + stream.encode(None)


def rewrite(source: Path, target: Path) -> av.container.InputContainer:
    """The clip as it is written again; opened, for a look."""
    encode.write_video(target, source, video.read_frames(source))
    return av.open(str(target))


def hear(path: Path) -> tuple[float, float]:
    """When the sound of a clip begins, in seconds after the first frame, and its pitch."""
    heard = audio.read_audio(path).astype(float)
    loud = np.flatnonzero(np.abs(heard) > 4000)
    spectrum = np.abs(np.fft.rfft(heard[loud[0] : loud[0] + audio.RATE]))
    return loud[0] / audio.RATE - next(video.read_frames(path)).time, float(spectrum.argmax())


def forget_codec(path: Path) -> None:
    """Makes the second sound of a .mov one that FFmpeg does not know, as telephones write it."""
    data = bytearray(path.read_bytes())
    entries = []
    place = data.find(b"stsd")
    while place >= 0:
        if data[place + 16 : place + 20] == b"mp4a":
            entries.append(place + 16)
        place = data.find(b"stsd", place + 4)
    second = entries[1]
    data[second : second + 4] = b"apac"
    box = data.index(b"esds", second)
    data[box : box + 4] = b"dapa"
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_of_an_unknown_codec_is_left_out_and_told(tmp_path, caplog, suffix):
    source = write_clip(tmp_path / "phone.mov", ("aac", "aac"))
    forget_codec(source)
    assert hear(source) == pytest.approx((0.5, 200), abs=0.01)
    with caplog.at_level(logging.WARNING), rewrite(source, tmp_path / f"out{suffix}") as output:
        assert [stream.codec_context.name for stream in output.streams.audio] == ["aac"]
    assert "phone.mov: its audio stream 2 (unknown to FFmpeg) cannot be copied" in caplog.text
    assert hear(tmp_path / f"out{suffix}") == pytest.approx((0.5, 200), abs=0.01)


def test_the_sound_that_can_be_decoded_is_heard(tmp_path):
    """The first stream is the unknown one."""
    source = write_clip(tmp_path / "phone.mov", ("aac", "aac"))
    data = source.read_bytes()
    entry = data.index(b"mp4a", data.index(b"stsd", data.index(b"stsd") + 4))
    source.write_bytes(data[:entry] + b"apac" + data[entry + 4 :].replace(b"esds", b"dapa", 1))
    assert hear(source) == pytest.approx((0.5, 400), abs=0.01)


FOREIGN = {
    "archive.wmv": ("wmv2", "wmav2"),
    "archive.flv": ("flv", "adpcm_swf"),
    "archive.mpg": ("mpeg2video", "mp2"),
    "archive.avi": ("mpeg4", "adpcm_ms"),
    # Its channels are only counted.
    "broadcast.mxf": ("mpeg2video", "pcm_s16le"),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_of_any_codec_is_kept(tmp_path, caplog, name, suffix):
    """Copied if the container takes it, else as AAC, and in step with the frames."""
    video_codec, codec = FOREIGN[name]
    source = write_clip(tmp_path / name, (codec,), video_codec)
    begins, pitch = hear(source)
    target = tmp_path / f"out{suffix}"
    with caplog.at_level(logging.WARNING), rewrite(source, target) as output:
        (found,) = [stream.codec_context.name for stream in output.streams.audio]
    assert hear(target) == pytest.approx((begins, pitch), abs=0.02)
    assert pitch == 200
    # An .mp4 calls MP2 what it calls MP3.
    copied = {"mp2": {"mp2", "mp3float"}, "pcm_s16le": {"pcm_s16le"}}
    assert found in copied.get(codec, {"aac"})
    assert ("becomes AAC" in caplog.text) == (codec not in copied)


def test_a_gap_in_sound_that_is_encoded_again_stays(tmp_path):
    """What cannot be decoded is silent, and what follows is in its place."""
    source = write_clip(tmp_path / "archive.wmv", ("wmav2",), "wmv2")
    gapped = tmp_path / "gapped.wmv"
    with av.open(str(source)) as old, av.open(str(gapped), "w") as new:
        copies = {s: new.add_stream_from_template(s, opaque=True) for s in old.streams}
        for packet in old.demux():
            if packet.dts is None:
                continue
            time = packet.pts * packet.time_base
            if packet.stream.type == "audio" and 0.8 < time < 1.4:
                continue
            packet.stream = copies[packet.stream]
            new.mux(packet)
    encode.write_video(tmp_path / "out.mp4", gapped, video.read_frames(gapped))
    heard = [
        np.abs(audio.read_audio(path).astype(float)) for path in (gapped, tmp_path / "out.mp4")
    ]
    for loud in heard:
        windows = loud[: 20 * 1600].reshape(20, 1600).max(1) > 4000
        assert windows.tolist()[6:8] == [True] * 2 and not windows[10:13].any()
        assert windows[16:18].all()


CREATED = "2019-06-07T08:09:10.000000Z"


def describe(container) -> list[av.Packet]:
    """Gives a clip of two sounds all that cameras and editors write beside it."""
    container.metadata.update({"title": "A day", "creation_time": CREATED, "comment": "take 3"})
    first, second = container.streams.audio
    german = "ger" if container.format.name == "mov" else "deu"
    first.metadata.update({"language": german, "title": "Deutsch"})
    second.metadata.update({"language": "fra", "title": "Français"})
    first.disposition, second.disposition = 0, av.stream.Disposition.default
    images = container.streams.video[0]
    images.metadata.update({"timecode": "01:02:03:04", "language": "eng"})
    container.set_chapters(
        [
            {"id": i, "start": i, "end": i + 1, "time_base": Fraction(1), "metadata": {"title": t}}
            for i, t in enumerate(("one", "two"))
        ]
    )
    is_matroska = container.format.name == "matroska"
    texts = container.add_mux_stream("subrip" if is_matroska else "mov_text")
    texts.time_base = Fraction(1, 1000)
    texts.metadata["language"] = "ita"
    packets = []
    for number, text in enumerate((b"Ciao", b"Addio")):
        packet = av.Packet(text if is_matroska else len(text).to_bytes(2, "big") + text)
        packet.stream, packet.time_base = texts, Fraction(1, 1000)
        packet.pts = packet.dts = 1000 * number
        packet.duration = 800
        packets.append(packet)
    return packets


@pytest.mark.parametrize("old", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("new", [".mp4", ".mov", ".mkv"])
def test_what_is_said_of_a_clip_is_kept(tmp_path, old, new, caplog):
    options = {"write_tmcd": "1"} if old == ".mp4" else None
    source = write_clip(tmp_path / f"a{old}", ("aac", "aac"), options=options, describe=describe)
    with caplog.at_level(logging.WARNING), rewrite(source, tmp_path / f"out{new}") as output:
        assert output.metadata["title"] == "A day"
        assert output.metadata["creation_time"] == CREATED
        assert {k.lower(): v for k, v in output.metadata.items()}["comment"] == "take 3"
        default = av.stream.Disposition.default
        sounds = [(s.language, bool(s.disposition & default)) for s in output.streams.audio]
        german = "ger" if ".mov" in (old, new) else "deu"
        assert sounds == [(german, False), ("fra", True)]
        titles = [s.metadata.get("title", s.metadata.get("name")) for s in output.streams.audio]
        assert titles == ["Deutsch", "Français"]
        chapters = [
            (c["start"] * c["time_base"], c["metadata"]["title"]) for c in output.chapters()
        ]
        assert chapters == [(0, "one"), (1, "two")]
        assert [stream.language for stream in output.streams.subtitles] == ["ita"]
        shown = [
            (p.pts * p.time_base, p.duration * p.time_base, line.dialogue)
            for p in output.demux(output.streams.subtitles)
            if p.size
            for line in p.decode()
            if line.dialogue
        ]
        lead_in = next(video.read_frames(tmp_path / f"out{new}")).time
        begins = [float(begin) - lead_in for begin, _, _ in shown]
        assert begins == pytest.approx([0, 1], abs=2e-3)
        assert [rest for _, *rest in shown] == [
            [Fraction(4, 5), b"Ciao"],
            [Fraction(4, 5), b"Addio"],
        ]
        assert ("becomes plain text" in caplog.text) == ((old == ".mkv") != (new == ".mkv"))
    assert video.start_timecode(tmp_path / f"out{new}") == "01:02:03:04"
    assert hear(tmp_path / f"out{new}") == pytest.approx(hear(source), abs=2e-3)


def test_the_fields_of_a_telephone_are_kept(tmp_path):
    fields = {
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.location.ISO6709": "+48.1374+011.5755+519.000/",
    }
    options = {"movflags": "use_metadata_tags"}
    source = write_clip(
        tmp_path / "phone.mov", options=options, describe=lambda c: c.metadata.update(fields)
    )
    for suffix in (".mov", ".mp4"):
        with rewrite(source, tmp_path / f"out{suffix}") as output:
            assert fields.items() <= output.metadata.items()


@pytest.mark.parametrize("timecode", ["yesterday", "01:00:00;00"])
def test_a_timecode_that_counts_no_frames_is_told(tmp_path, caplog, timecode):
    def describe(container):
        container.streams.video[0].metadata["timecode"] = timecode

    source = write_clip(tmp_path / "a.mkv", describe=describe)
    with caplog.at_level(logging.WARNING), rewrite(source, tmp_path / "out.mov"):
        assert video.start_timecode(tmp_path / "out.mov") is None
    assert f"its timecode {timecode} does not fit" in caplog.text


def test_covers_are_kept_where_they_fit(tmp_path, caplog):
    data = cv2.imencode(".jpg", smooth_picture(32, 32))[1].tobytes()

    def add_cover(container):
        cover = container.add_mux_stream("mjpeg", width=32, height=32)
        cover.time_base = Fraction(1, 25)
        cover.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(data)
        packet.stream, packet.time_base = cover, Fraction(1, 25)
        packet.pts = packet.dts = 0
        return [packet]

    def attach_cover(container):
        container.add_attachment("front.jpg", "image/jpeg", data)

    clips = [
        write_clip(tmp_path / "a.mp4", describe=add_cover),
        write_clip(tmp_path / "a.mkv", describe=attach_cover),
    ]
    for source in clips:
        for suffix in (".mp4", ".mkv"):
            with rewrite(source, tmp_path / f"out{suffix}") as output:
                attached = av.stream.Disposition.attached_pic
                (cover,) = [s for s in output.streams.video if s.disposition & attached]
                assert len(output.streams.video) == 2
                assert any(bytes(packet) == data for packet in output.demux(cover))
        with caplog.at_level(logging.WARNING), rewrite(source, tmp_path / "out.mov") as output:
            assert len(output.streams.video) == 1
        assert f"{source.name}: its video stream 2 (mjpeg) does not fit" in caplog.text


def test_fonts_are_kept_where_they_fit(tmp_path, caplog):
    def add_font(container):
        container.add_attachment("a.ttf", "font/ttf", b"a font")

    source = write_clip(tmp_path / "a.mkv", describe=add_font)
    with rewrite(source, tmp_path / "out.mkv") as output:
        assert [(a.name, a.data) for a in output.streams.attachments] == [("a.ttf", b"a font")]
    with caplog.at_level(logging.WARNING):
        rewrite(source, tmp_path / "out.mp4").close()
    assert "its attachment stream 2 (a.ttf) does not fit" in caplog.text


def test_subtitles_become_plain_text(tmp_path):
    def describe(container):
        texts = container.add_mux_stream("subrip")
        texts.time_base = Fraction(1, 1000)
        packet = av.Packet("<i>Già</i>,\ncosì".encode())
        packet.stream, packet.time_base = texts, Fraction(1, 1000)
        packet.pts = packet.dts = 100
        packet.duration = 500
        return [packet]

    source = write_clip(tmp_path / "a.mkv", describe=describe)
    with rewrite(source, tmp_path / "out.mp4") as output:
        packets = [bytes(packet) for packet in output.demux(output.streams.subtitles)]
    assert any(packet[2:].decode() == "Già,\ncosì" for packet in packets)
