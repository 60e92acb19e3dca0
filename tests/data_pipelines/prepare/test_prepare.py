"""Tests of `prepare` on small puppet clips with their landmarks beside them."""

import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.clips import Clip
from data_pipelines.prepare import jobs, pool, tracks
from data_pipelines.prepare.jobs import report_of
from data_pipelines.prepare.prepare import prepare
from data_pipelines.prepare.settings import Settings
from data_pipelines.prepare.verify import verify
from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.tracks import render_frame
from data_pipelines.records import MANIFEST, SETTINGS, SHARDS, Counts, Manifest
from faceswap_jax.errors import InputError, JobError
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.files import aside_of
from tests.support import stored

FRAMES, SIZE = 6, 96
SETTINGS_16 = Settings(resolution=16, clips_per_shard=1)


@pytest.fixture(scope="module")
def puppet(tmp_path_factory) -> Path:
    """A clip of six frames, all with a face."""
    path = tmp_path_factory.mktemp("clips") / "ann.mp4"
    write_clip(path, world_seed=0, persona=0, track=0, frames=FRAMES, size=SIZE)
    return path


def copy_clip(clip: Path, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(clip, to)
    shutil.copy(sidecar_path(clip), sidecar_path(to))
    return to


@pytest.fixture
def folders(puppet, tmp_path) -> Path:
    """Two personas with two clips each, and one file that is none."""
    root = tmp_path / "people"
    for name in ("ann/1", "ann/2", "bob/1", "bob/2"):
        copy_clip(puppet, root / f"{name}.mp4")
    (root / "bob" / "broken.mp4").write_text("text")
    return root


def write_face_picture(path: Path) -> None:
    frame = render_frame(0, 0, 0, 0, SIZE)
    write_picture(path, frame.image)
    write_landmarks(sidecar_path(path), {0: frame.landmarks})


def shards(directory: Path) -> dict[str, str]:
    """The digest of each finished shard; what a killed process was writing has a hidden name."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((directory / SHARDS).glob("[!.]*.arrayrecord"))
    }


def test_numbered_pictures(puppet, tmp_path):
    """By pattern and as a folder of a table; a picture that changes makes its clip new."""
    folder = tmp_path / "shots" / "bob"
    folder.mkdir(parents=True)
    for frame in video.read_frames(puppet):
        for name in ("ann", "bob/"):
            write_picture(folder.parent / f"{name}{frame.index + 1:04d}.png", frame.image)
    landmarks = sidecar_path(puppet).read_bytes()
    pattern, table = folder.parent / "ann%04d.png", folder.parent / "parts.csv"
    sidecar_path(pattern).write_bytes(landmarks)
    sidecar_path(folder).write_bytes(landmarks)
    table.write_text("path,persona,start,end\nbob,,,0.1\n")

    output = tmp_path / "data"
    manifest = prepare([pattern, table], output, SETTINGS_16)
    assert manifest.personas["ann"].counts == Counts(FRAMES, FRAMES, {})
    assert [record.frame for record in stored.records(output, "bob")] == [0, 1, 2]
    before = shards(output)
    write_picture(folder.parent / "ann0003.png", np.zeros((SIZE, SIZE, 3), np.uint8))
    prepare([pattern, table], output, SETTINGS_16)
    changed = [name for name, digest in shards(output).items() if before.get(name) != digest]
    assert len(before) == 2 and len(changed) == 1

    write_picture(folder.parent / "ann0003.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match=r"ann0003.png has 8 x 8 pixels, and .* 96 x 96"):
        prepare([pattern], tmp_path / "refused", SETTINGS_16)
    assert not (tmp_path / "refused").exists()


def test_a_file_and_a_folder(puppet, tmp_path, capsys):
    folder = tmp_path / "bob [1]"  # square brackets must not be taken for markup
    clip = copy_clip(puppet, folder / "a.mp4")
    landmarks = {frame: render_frame(0, 0, 0, frame, SIZE).landmarks for frame in (0, 1, 3, 4, 5)}
    landmarks[4] = landmarks[4] + [SIZE / 2, 0]
    write_landmarks(sidecar_path(clip), landmarks)
    write_face_picture(folder / "b.PNG")
    (folder / "notes.txt").write_text("not a clip")
    (folder / "._a.mp4").write_text("what another system keeps about a.mp4")

    output = tmp_path / "new" / "data"
    settings = Settings(resolution=32)
    manifest = prepare([puppet, folder], output, settings)

    assert Manifest.load(output) == manifest and manifest.settings == settings.to_json()
    assert manifest.personas["ann"].counts == Counts(FRAMES, FRAMES, {})
    assert manifest.personas["ann"].tracks == [FRAMES]
    assert manifest.personas["bob [1]"].counts == Counts(
        7, 5, {"no face": 1, "leaves the frame": 1}
    )
    assert [record.frame for record in stored.records(output, "ann")] == list(range(FRAMES))
    bob = stored.records(output, "bob [1]")
    assert [(Path(record.clip).name, record.frame) for record in bob] == [
        ("a.mp4", 0),
        ("a.mp4", 1),
        ("a.mp4", 3),
        ("a.mp4", 5),
        ("b.PNG", 0),
    ]
    assert {record.persona for record in bob} == {"bob [1]"}
    assert all(record.image.shape == (48, 48, 3) and record.image.std() > 10 for record in bob)
    np.testing.assert_allclose(bob[4].landmarks, bob[0].landmarks, atol=0.05)
    assert (
        np.abs(bob[4].image.astype(int) - bob[0].image).mean() < 8
    )  # the picture and the clip's first frame

    text = capsys.readouterr().err
    assert "notes.txt" in text and "._a" not in text and "landmarks.csv" not in text
    row = next(line for line in text.splitlines() if "bob [1]" in line)
    assert "1 no face" in row and "1 leaves the frame" in row
    assert [path.name for path in output.parent.iterdir()] == ["data"]
    assert {path.name for path in output.iterdir()} == {SETTINGS, MANIFEST, SHARDS, "report"}
    assert verify(output)


def test_progress_on_a_terminal(puppet, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    prepare([puppet], tmp_path / "data", SETTINGS_16)
    text = capsys.readouterr().err
    assert "1/1" in text and f"{FRAMES} frames" in text


def test_one_bad_clip_does_not_stop_the_others(folders, tmp_path, capsys):
    manifest = prepare([folders], tmp_path / "data", SETTINGS_16)
    assert [len(persona.tracks) for persona in manifest.personas.values()] == [2, 2]
    ((name, why),) = manifest.unreadable.items()
    assert name.endswith("bob/broken.mp4") and "is damaged or not a video" in why
    assert why in capsys.readouterr().err


def test_a_name_that_leaves_no_room_for_landmarks_stops_nothing(folders, tmp_path):
    """It has none beside it; they are found."""
    shutil.copy(folders / "bob" / "1.mp4", folders / "bob" / f"{'顔' * 80}.mp4")
    manifest = prepare([folders], tmp_path / "data", SETTINGS_16)
    assert [len(persona.tracks) for persona in manifest.personas.values()] == [2, 3]
    assert [name for name in manifest.unreadable if "顔" in name] == []


def test_identities_are_split(folders, tmp_path):
    manifest = prepare([folders], tmp_path / "data", Settings(resolution=16, splits=(50, 0, 50)))
    assert sorted(persona.split for persona in manifest.personas.values()) == ["test", "train"]


def test_settings_reach_the_records(puppet, tmp_path):
    settings = Settings(resolution=16, image="png16", frames=2)
    manifest = prepare([puppet], tmp_path / "data", settings)
    records = stored.records(tmp_path / "data", "ann")
    assert (
        len(records) == 2 == manifest.personas["ann"].counts.kept
        and records[0].image.dtype == np.uint16
    )


@pytest.mark.slow
def test_processes_give_the_same_bytes(folders, tmp_path):
    alone = prepare([folders], tmp_path / "alone", SETTINGS_16)
    together = prepare([folders], tmp_path / "together", SETTINGS_16, processes=2)
    assert alone == together and shards(tmp_path / "alone") == shards(tmp_path / "together")


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory) -> Path:
    """A clip of three parts: 90 s, and two frames a second."""
    path = tmp_path_factory.mktemp("long") / "ann.mp4"
    write_clip(path, world_seed=0, persona=0, track=0, frames=180, size=SIZE, rate=2)
    return path


@pytest.mark.slow
def test_processes_divide_a_long_clip_and_give_the_same_bytes(long_clip, tmp_path):
    assert len(list(tracks.parts_of(Clip(long_clip, "ann", "ann"), SETTINGS_16))) == 3
    alone = prepare([long_clip], tmp_path / "1", SETTINGS_16)
    for processes in (2, 3):
        output = tmp_path / str(processes)
        assert prepare([long_clip], output, SETTINGS_16, processes) == alone
        assert shards(output) == shards(tmp_path / "1")
    assert alone.personas["ann"].counts.kept == 180


@pytest.mark.slow
def test_an_interruption_while_a_clip_is_divided(long_clip, tmp_path):
    """Nothing is left half-written, and the same command makes what it would have made."""
    output = tmp_path / "data"
    script = tmp_path / "slowly.py"
    script.write_text(SLOWLY)
    arguments = [sys.executable, script, long_clip, output]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    # Two processes write their lines at once.
    assert any("looking" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode not in (0, None)
    assert not shards(output) and not (output / MANIFEST).exists()

    prepare([long_clip], output, SETTINGS_16)
    prepare([long_clip], tmp_path / "undisturbed", SETTINGS_16)
    assert shards(output) == shards(tmp_path / "undisturbed")
    assert not [path for path in output.rglob(".*")]


def dies(tally):
    """What a process begins with that is killed before it has anything to do."""
    os._exit(9)


def test_a_process_that_dies_before_it_begins_is_no_clips_fault(folders, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(pool, "_begin", dies)
        with pytest.raises(JobError, match="the same command goes on"):
            prepare([folders], tmp_path / "data", SETTINGS_16, processes=2)
    manifest = prepare([folders], tmp_path / "data", SETTINGS_16)
    assert manifest == prepare([folders], tmp_path / "undisturbed", SETTINGS_16)


SLOWLY = f"""
import signal, sys, time
from pathlib import Path
sys.path.insert(0, {str(Path.cwd())!r})
from faceswap_jax.faces import landmarks

original = landmarks.SidecarLandmarker.__call__
def slowly(self, image, index):
    print("looking", file=sys.stderr, flush=True)
    time.sleep(0.2)
    return original(self, image, index)
landmarks.SidecarLandmarker.__call__ = slowly

if __name__ == "__main__":
    # A shell in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from data_pipelines.prepare.prepare import prepare
    from data_pipelines.prepare.settings import Settings
    settings = Settings(resolution=16, clips_per_shard=1)
    prepare([Path(sys.argv[1])], Path(sys.argv[2]), settings, processes=2)
"""
"""Prepares with two processes, each frame of which takes long."""


def test_an_interruption_keeps_what_is_done(folders, tmp_path, monkeypatch, capsys):
    output, original, ran = tmp_path / "data", jobs.face_tracks, []

    def interrupted(clip, *args):
        ran.append(clip.name)
        if len(ran) == 3:
            raise KeyboardInterrupt
        yield from original(clip, *args)

    monkeypatch.setattr(jobs, "face_tracks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare([folders], output, SETTINGS_16)
    assert len(shards(output)) == 2 and not (output / MANIFEST).exists()
    assert "2 of 5 shards are done; the same command goes on" in capsys.readouterr().err
    assert not [path for path in output.rglob("*") if path.suffix == ".partial"]
    with pytest.raises(InputError, match="is not finished"):
        Manifest.load(output)

    prepare([folders], output, SETTINGS_16)
    assert len(ran) == len(set(ran)) + 1 == 6  # the interrupted clip alone is read twice
    monkeypatch.undo()
    prepare([folders], tmp_path / "undisturbed", SETTINGS_16)
    assert shards(output) == shards(tmp_path / "undisturbed")


def test_again_does_what_is_new(folders, tmp_path, monkeypatch):
    output, original, ran = tmp_path / "data", jobs.face_tracks, []

    def watched(clip, *args):
        ran.append(Path(clip.name).name)
        yield from original(clip, *args)

    monkeypatch.setattr(jobs, "face_tracks", watched)
    first = prepare([folders], output, SETTINGS_16)
    ran.clear()
    assert prepare([folders], output, SETTINGS_16) == first and not ran
    copy_clip(folders / "bob" / "1.mp4", folders / "bob" / "3.mp4")
    manifest = prepare([folders], output, SETTINGS_16)
    assert ran == ["3.mp4", "broken.mp4"]  # these moved to other shards; all before them stayed
    assert (
        len(manifest.personas["bob"].shards) == 3
        and manifest.personas["ann"] == first.personas["ann"]
    )
    ran.clear()
    os.utime(folders / "ann" / "2.mp4", (1, 1))  # a clip of another age is another clip
    prepare([folders], output, SETTINGS_16)
    assert ran == ["2.mp4"]
    (folders / "ann" / "2.mp4").unlink()
    assert len(prepare([folders], output, SETTINGS_16).personas["ann"].shards) == 1
    assert verify(output)


@pytest.mark.parametrize("text", ["{", '{"schema": 2}'])
def test_again_replaces_a_manifest_that_cannot_be_read(folders, tmp_path, text):
    first = prepare([folders], tmp_path / "data", SETTINGS_16)
    (tmp_path / "data" / MANIFEST).write_text(text)
    assert prepare([folders], tmp_path / "data", SETTINGS_16) == first
    assert Manifest.load(tmp_path / "data") == first


def test_a_report_that_a_killed_process_left_half_written_is_no_persona(folders, tmp_path):
    output = tmp_path / "data"
    first = prepare([folders], output, SETTINGS_16)
    aside = aside_of(report_of(output / SHARDS / "ann-00000.arrayrecord"))
    aside.write_text("{")
    assert prepare([folders], output, SETTINGS_16) == first
    assert not aside.exists()


def test_another_data_set_is_left_alone(folders, tmp_path):
    output = tmp_path / "data"
    prepare([folders], output, SETTINGS_16)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"other settings .--resolution: 16 -> 32.; use those"):
        prepare([folders], output, Settings(resolution=32, clips_per_shard=1))
    with pytest.raises(
        InputError, match="holds bob too, which these inputs do not; name all inputs"
    ):
        prepare([folders / "ann"], output, SETTINGS_16)
    lock = os.open(output, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(InputError, match="Another process is writing"):
        prepare([folders], output, SETTINGS_16)
    os.close(lock)
    assert before == {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}


def test_an_empty_output_folder_is_used(puppet, tmp_path):
    prepare([puppet], tmp_path, SETTINGS_16)
    assert (tmp_path / MANIFEST).exists()


def test_an_occupied_output_is_left_alone(puppet, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not an empty folder"):
        prepare([puppet], tmp_path, SETTINGS_16)
    with pytest.raises(InputError, match=r"mine\.txt exists and is not an empty folder"):
        prepare([puppet], tmp_path / "mine.txt", SETTINGS_16)
    with pytest.raises(InputError, match="cannot be written"):
        prepare([puppet], tmp_path / "mine.txt" / "data", SETTINGS_16)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_bad_inputs(puppet, tmp_path):
    """Each is told in one sentence, and none leaves anything behind."""
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.mp4").write_text("a")
    faceless = copy_clip(puppet, tmp_path / "faceless.mp4")
    write_landmarks(sidecar_path(faceless), {})
    twisted = copy_clip(puppet, tmp_path / "twisted.mp4")
    sidecar_path(twisted).write_text("frame,x0")
    inputs = sorted(tmp_path.rglob("*"))

    for names, problem in {
        ("gone.mp4",): r"gone\.mp4 does not exist",
        ("text.mp4",): r"text\.mp4 is damaged or not a video",
        ("texts",): r"No clip gave a face; 1 cannot be read, the first: .*a\.mp4 is damaged",
        (
            "faceless.mp4",
        ): "None of the 6 frames shows a face that can be used .6 no face.; give other clips",
        ("twisted.mp4",): r"twisted\.mp4\.landmarks\.csv, line 1: the header must be",
    }.items():
        with pytest.raises(InputError, match=problem) as error:
            prepare([tmp_path / name for name in names], tmp_path / "data", SETTINGS_16)
        assert "\n" not in str(error.value)
    assert inputs == sorted(tmp_path.rglob("*"))


def test_what_others_keep_in_the_folder_stays(puppet, tmp_path):
    clip = copy_clip(puppet, tmp_path / "in" / "ann.mp4")
    prepare([clip], tmp_path / "data", SETTINGS_16)
    (tmp_path / "data" / "mine.txt").write_text("keep")
    write_landmarks(sidecar_path(clip), {})
    with pytest.raises(InputError, match="None of the 6 frames"):
        prepare([clip], tmp_path / "data", SETTINGS_16)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mine.txt"]


def test_personas_without_a_face_are_told(puppet, tmp_path, capsys):
    faceless = copy_clip(puppet, tmp_path / "faceless.mp4")
    write_landmarks(sidecar_path(faceless), {})
    assert list(prepare([puppet, faceless], tmp_path / "data", SETTINGS_16).personas) == ["ann"]
    assert "faceless: no face could be used; left out" in capsys.readouterr().err


DEADLY = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path.cwd())!r})
from data_pipelines.prepare import tracks
from faceswap_jax.faces import landmarks

def end_at(place, path):
    if str(place) == sys.argv[4] and "ann" in str(path) and path.name.startswith("1"):
        os.kill(os.getpid(), 11)

original = landmarks.SidecarLandmarker.__call__
def deadly(self, image, index):
    end_at(index, self.path)
    return original(self, image, index)
heard = tracks.read_audio
def deadly_sound(path, **times):
    end_at("sound", path)
    return heard(path, **times)
tracks.read_audio = deadly_sound
init = landmarks.SidecarLandmarker.__init__
def remember(self, path):
    init(self, path)
    self.path = path
landmarks.SidecarLandmarker.__init__, landmarks.SidecarLandmarker.__call__ = remember, deadly

if __name__ == "__main__":
    from data_pipelines.prepare.prepare import prepare
    from data_pipelines.prepare.settings import Settings
    folders, output, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    prepare([folders], output, Settings(resolution=16), processes)
"""
"""Prepares; one frame of one clip, or its sound, ends its process, as a decoder may."""


def kept_without_the_deadly(
    folders: Path, tmp_path: Path, processes: int, place: int | str
) -> dict:
    """How much of each persona is kept, where the frame of that index, or "sound", is deadly."""
    script, output = tmp_path / "deadly.py", tmp_path / "data"
    script.write_text(DEADLY)
    arguments = [sys.executable, script, folders, output, str(processes), str(place)]
    subprocess.run(arguments, check=True, timeout=120)
    manifest = Manifest.load(output)
    why = next(why for name, why in manifest.unreadable.items() if name.endswith("ann/1.mp4"))
    assert "ends the process that reads it" in why and "-11" in why
    return {name: persona.counts.kept for name, persona in manifest.personas.items()}


@pytest.mark.slow
def test_a_clip_that_kills_its_process_is_left_out(folders, tmp_path):
    """The pool goes on without the clip."""
    assert kept_without_the_deadly(folders, tmp_path, 2, 2) == {"ann": 6, "bob": 12}


@pytest.mark.slow
@pytest.mark.parametrize("place", [100, "sound"])
def test_a_divided_clip_that_kills_a_process_is_left_out(folders, long_clip, tmp_path, place):
    copy_clip(long_clip, folders / "ann" / "1.mp4")
    assert kept_without_the_deadly(folders, tmp_path, 3, place) == {"ann": 6, "bob": 12}


def command(output: Path, folders: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "faceswap_jax.cli",
        "prepare",
        str(folders),
        "--output",
        str(output),
        "--resolution=32",
        "--clips_per_shard=1",
        "--processes=2",
    ]


@pytest.mark.slow
def test_kills_and_a_rerun_give_the_same_bytes(puppet, tmp_path):
    folders = tmp_path / "people"
    for persona in ("ann", "bob"):
        for number in range(6):
            copy_clip(puppet, folders / persona / f"{number}.mp4")
    start = time.monotonic()
    subprocess.run(command(tmp_path / "undisturbed", folders), check=True, capture_output=True)
    whole = time.monotonic() - start
    output, draw = tmp_path / "data", random.Random(0)
    seen = []
    for _ in range(5):
        process = subprocess.Popen(command(output, folders), stderr=subprocess.DEVNULL)
        # Start-up takes most of the time, and a kill there changes nothing: aim at the work.
        time.sleep(draw.uniform(0.5, 1.0) * whole)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.3)
        done = shards(output) if output.exists() else {}
        assert done.items() <= shards(tmp_path / "undisturbed").items()  # none is half-written
        seen.append(len(done))
        assert not seen[:-1] or seen[-1] >= seen[-2]  # and none is lost
    subprocess.run(command(output, folders), check=True, capture_output=True)
    assert shards(output) == shards(tmp_path / "undisturbed") and len(shards(output)) == 12
    assert Manifest.load(output) == Manifest.load(tmp_path / "undisturbed")
    assert not [path for path in output.rglob(".*")]
    assert verify(output)


def test_a_full_disk_keeps_what_is_finished(folders, tmp_path):
    """On a real file system of 160 kB, where the tests may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "none", disk], capture_output=True
    ).returncode:
        pytest.skip("no permission to mount a small file system")
    try:
        with pytest.raises(
            InputError,
            match=r"No space left on device.*; correct that and run the same command again",
        ):
            prepare(
                [folders], disk / "data", Settings(resolution=256, clips_per_shard=1, image="png")
            )
        assert not [path for path in (disk / "data").rglob("*") if path.suffix == ".partial"]
        done = shards(disk / "data")
        assert json.loads((disk / "data" / SETTINGS).read_text())["resolution"] == 256
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        prepare([folders], disk / "data", Settings(resolution=256, clips_per_shard=1, image="png"))
        assert done.items() <= shards(disk / "data").items() and verify(disk / "data")
    finally:
        subprocess.run(["umount", disk], check=True)
