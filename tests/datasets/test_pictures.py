"""Pictures in files and folders, against the pixels that were saved."""

import errno
import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skrnd.datasets import load_image_folder, load_images


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_folder(tmp_path, rng):
    pictures = rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    for name, pixels in zip(
        ["good/b.png", "good/deep/a.PNG", "bad/a.bmp", "bad/b.png"], pictures, strict=True
    ):
        save(tmp_path / name, pixels)
    (tmp_path / "good" / "notes.txt").write_text("no picture")
    save(tmp_path / ".hidden" / "a.png", pictures[0])
    bunch = load_image_folder(tmp_path, size=(8, 8))
    assert bunch.target_names == ["bad", "good"]
    np.testing.assert_array_equal(bunch.target, [0, 0, 1, 1])
    np.testing.assert_array_equal(bunch.data, pictures[[2, 3, 0, 1]].transpose(0, 3, 1, 2))
    assert [name.rsplit("/", 1)[1] for name in bunch.filenames] == [
        "a.bmp",
        "b.png",
        "b.png",
        "a.PNG",
    ]


def test_hidden_folders_need_not_be_ours_to_read(tmp_path, rng, monkeypatch):
    """As the wastebasket of a memory card, which belongs to the system."""

    def scan(folder):
        if os.path.basename(folder) == ".Trashes":
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return scandir(folder)

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", scan)
    save(tmp_path / "a.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
    (tmp_path / ".Trashes").mkdir()
    assert len(load_image_folder(tmp_path, size=(8, 8)).data) == 1


def test_pictures_directly_in_the_folder(tmp_path, rng):
    save(tmp_path / "photos" / "a.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
    X, y = load_image_folder(tmp_path / "photos", size=(4, 6), color="grey", return_X_y=True)
    assert X.shape == (1, 1, 4, 6)
    np.testing.assert_array_equal(y, [0])


def test_other_files_are_passed_over(tmp_path, rng):
    save(tmp_path / "a.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
    for name in ("notes.pdf", "film.mpg", "table.h5", "list.txt"):
        (tmp_path / name).write_bytes(b"no picture")
    assert len(load_image_folder(tmp_path, size=(8, 8)).data) == 1


def test_linked_folders_are_followed(tmp_path, rng):
    pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    save(tmp_path / "photos" / "good" / "a.png", pixels)
    save(tmp_path / "elsewhere" / "b.png", pixels)
    (tmp_path / "photos" / "bad").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "good" / "round").symlink_to(tmp_path / "photos")
    bunch = load_image_folder(tmp_path / "photos", size=(8, 8))
    assert bunch.target_names == ["bad", "good"]
    np.testing.assert_array_equal(bunch.target, [0, 1])


def test_folders_linked_to_in_circles_or_in_many_ways_are_read_once(tmp_path, rng):
    pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    for name in ("a", "b"):
        save(tmp_path / "photos" / name / "picture.png", pixels)
    (tmp_path / "photos" / "a" / "round").symlink_to(tmp_path / "photos" / "b")
    (tmp_path / "photos" / "b" / "round").symlink_to(tmp_path / "photos" / "a")
    # 2 ** 50 ways lead to the last of these.
    for number in range(50):
        (tmp_path / f"{number}").mkdir()
        for link in ("left", "right"):
            (tmp_path / f"{number}" / link).symlink_to(tmp_path / f"{number + 1}")
    save(tmp_path / "50" / "picture.png", pixels)
    (tmp_path / "photos" / "c").symlink_to(tmp_path / "25")
    bunch = load_image_folder(tmp_path / "photos", size=(8, 8))
    assert bunch.target_names == ["a", "b", "c"]
    # Both pictures of a and b have both labels.
    np.testing.assert_array_equal(bunch.target, [0, 0, 1, 1, 2])


def test_no_picture_is_passed_over_in_silence(tmp_path, rng, monkeypatch):
    """Nor a link to one that is not there, nor a folder that cannot be read."""
    save(tmp_path / "good" / "0.png", rng.integers(0, 256, size=(4, 4, 3), dtype=np.uint8))
    link = tmp_path / "bad" / "0.png"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match=r"1 of 2 pictures cannot be read: .*bad.0\.png"):
        load_image_folder(tmp_path, size=(4, 4))
    link.unlink()

    def scandir(path):
        if Path(path).name == "bad":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path)

    original = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="bad"):
        load_image_folder(tmp_path, size=(4, 4))


def test_one_label_for_two_folders_is_refused(tmp_path, rng):
    pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    save(tmp_path / "photos" / "a.png", pixels)
    save(tmp_path / "photos" / "photos" / "b.png", pixels)
    with pytest.raises(ValueError, match="sub-folder 'photos', which would have the same label"):
        load_image_folder(tmp_path / "photos", size=(8, 8))


def test_resizing_averages_unless_told_not_to(tmp_path):
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    save(tmp_path / "stripes.png", stripes)
    smooth, _ = load_image_folder(tmp_path, size=(16, 16), color="grey", return_X_y=True)
    nearest, _ = load_image_folder(
        tmp_path, size=(16, 16), color="grey", antialias=False, return_X_y=True
    )
    assert np.abs(smooth[..., 2:-2].astype(float) - 127.5).max() < 5
    assert set(np.unique(nearest)) <= {0, 255}


def test_photographs_are_turned_upright(tmp_path):
    pixels = np.zeros((8, 8), dtype=np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    X, _ = load_image_folder(tmp_path, size=(8, 8), color="grey", return_X_y=True)
    np.testing.assert_array_equal(X[0, 0], pixels[::-1])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode, tmp_path, rng):
    """Whatever colours it has, which nobody sees."""
    seen = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    seen[4:] = 255
    hidden = seen.copy()
    hidden[4:] = rng.integers(0, 256, (4, 8, 3))
    if mode == "P":
        # One of its colours stands for nothing.
        picture = Image.fromarray(np.repeat(np.arange(8, dtype=np.uint8), 8).reshape(8, 8), "P")
        picture.putpalette([*range(21), 9, 9, 9])
        picture.info["transparency"] = 7
        expected = np.arange(24, dtype=np.uint8).reshape(8, 1, 3).repeat(8, 1)
        expected[7] = 255
    else:
        picture = Image.fromarray(hidden).convert(mode)
        alpha = np.full((8, 8), 255, dtype=np.uint8)
        alpha[4:] = 0
        picture.putalpha(Image.fromarray(alpha))
        grey = mode == "LA"
        expected = np.asarray(Image.fromarray(seen).convert("L" if grey else "RGB").convert("RGB"))
    picture.save(tmp_path / "picture.png")
    X = load_images([tmp_path / "picture.png"], size=(8, 8))
    np.testing.assert_array_equal(X[0].transpose(1, 2, 0), expected)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_pictures_of_any_kind(tmp_path, rng, mode):
    picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).convert(mode)
    picture.save(tmp_path / "a.tiff")
    X, _ = load_image_folder(tmp_path, size=(8, 8), return_X_y=True)
    np.testing.assert_array_equal(X[0].transpose(1, 2, 0), np.asarray(picture.convert("RGB")))


def test_folders_that_cannot_be_used(tmp_path, rng):
    with pytest.raises(FileNotFoundError, match="is no folder"):
        load_image_folder(tmp_path / "missing", size=(8, 8))
    with pytest.raises(FileNotFoundError, match="no picture"):
        load_image_folder(tmp_path, size=(8, 8))
    save(tmp_path / "a.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
    for size in [(8,), (8, 0), (8.0, 8), 8]:
        with pytest.raises(ValueError, match="size must be"):
            load_image_folder(tmp_path, size=size)
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:50])
    with pytest.raises(ValueError, match=r"2 of 3 pictures .*b\.png \(cannot.*; .*c\.png \("):
        load_image_folder(tmp_path, size=(8, 8))


def test_files_come_in_the_order_asked_for(tmp_path, rng):
    pictures = rng.integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)
    paths = [tmp_path / "b.png", str(tmp_path / "a.png")]
    for path, pixels in zip(paths, pictures, strict=True):
        save(Path(path), pixels)
    X = load_images(paths, size=(6, 8))
    np.testing.assert_array_equal(X, pictures.transpose(0, 3, 1, 2))
    assert load_images([], size=(6, 8), color="grey").shape == (0, 1, 6, 8)


@pytest.mark.parametrize("made", [str, Path])
def test_a_single_path_is_no_list(made):
    with pytest.raises(TypeError, match=r"got .*'photos'.*load_image_folder takes a folder"):
        load_images(made("photos"), size=(8, 8))


def test_pictures_may_be_given_one_by_one(tmp_path, rng):
    save(tmp_path / "a.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
    assert load_images(tmp_path.glob("*.png"), size=(8, 8)).shape == (1, 3, 8, 8)


def test_enlarged_pictures_are_warned_of(tmp_path, rng):
    for number, shape in enumerate([(8, 6), (4, 9), (5, 5), (20, 20)]):
        save(tmp_path / f"{number}.png", rng.integers(0, 256, shape, dtype=np.uint8))
    with pytest.warns(
        UserWarning, match=r"^2 of 4 .* size=\(8, 6\) .* with size=\(4, 5\)"
    ) as caught:
        load_image_folder(tmp_path, size=(8, 6))
    assert caught[0].filename == __file__
    load_image_folder(tmp_path, size=(4, 5))
    # What is higher than asked for asks for no more.
    with pytest.warns(UserWarning, match=r"^1 of 1 .* with size=\(8, 20\)"):
        load_images([tmp_path / "3.png"], size=(8, 30))


def test_pictures_come_from_anywhere(tmp_path, rng):
    """By their path, from a request, or as Pillow has them; only what is bad is not read."""
    picture = Image.fromarray(rng.integers(0, 256, (12, 16, 4), dtype=np.uint8), "RGBA")
    picture.getexif()[0x0112] = 6  # lies on its side
    before = picture.tobytes()
    picture.save(tmp_path / "a.png", exif=picture.getexif())
    content = (tmp_path / "a.png").read_bytes()
    X = load_images([tmp_path / "a.png", io.BytesIO(content), picture], size=(8, 6))
    assert X.shape == (3, 3, 8, 6)
    np.testing.assert_array_equal(X, X[[0, 0, 0]])
    assert picture.tobytes() == before
    assert picture.size == (16, 12)
    deep = Image.fromarray(np.zeros((8, 8), np.uint16))
    (tmp_path / "bad.ppm").write_bytes(b"P6\nab 4\n255\n" + bytes(48))
    bad = [picture, io.BytesIO(content[:40]), deep, tmp_path / "bad.ppm", np.zeros((8, 8))]
    named = r"4 of 5 .*number 1 \(.*number 2 \(values.*bad.ppm \(.*number 4 \("
    with pytest.raises(ValueError, match=named):
        load_images(bad, size=(8, 6))


def in_iptc(content):
    """The file as the picture in a file of IPTC."""
    fields = {(3, 60): b"\1\0", (3, 20): b"\x08", (3, 30): b"\x08", (3, 120): b"\5"}
    fields[8, 10] = content
    return b"".join(
        bytes([0x1C, *tag]) + len(field).to_bytes(2, "big") + field for tag, field in fields.items()
    )


@pytest.mark.parametrize("packed", [bytes, in_iptc])
def test_postscript_is_not_run(packed, tmp_path, monkeypatch):
    """Pillow has Ghostscript run it."""
    run = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args: run.append(args))
    content = packed(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    )
    for ending in (".png", ".eps", ".iim"):
        (tmp_path / f"a{ending}").write_bytes(content)
    for picture in (tmp_path / "a.png", io.BytesIO(content)):
        with pytest.raises(ValueError, match=r"1 of 1 pictures cannot be read.*identify"):
            load_images([picture], size=(8, 8))
    (tmp_path / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match="no picture"):
        load_image_folder(tmp_path, size=(8, 8))
    assert not run


def test_damage_that_only_the_decoder_finds(tmp_path):
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "DDS")
    # An unknown layout of the pixels: Pillow raises a NotImplementedError.
    damaged = content.getvalue()[:80] + bytes(4) + content.getvalue()[84:]
    with pytest.raises(ValueError, match="1 of 1 pictures cannot be read: number 0"):
        load_images([io.BytesIO(damaged)], size=(8, 8))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_more_than_8_bits_are_refused(tmp_path, dtype):
    save(tmp_path / "a.tiff", np.full((8, 8), 1000, dtype=dtype))
    with pytest.raises(ValueError, match=r"a.tiff \(values of more than 8 bits"):
        load_image_folder(tmp_path, size=(8, 8))


def png_of_16_bits_and_alpha(value):
    """Four pixels of one grey value, half of them transparent."""
    rows = struct.pack(">x4Hx4H", *[value, 65535, value, 0] * 2)
    chunks = [
        (b"IHDR", struct.pack(">2I5B", 2, 2, 16, 4, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_more_than_8_bits_with_alpha_are_refused():
    with pytest.raises(ValueError, match="values of more than 8 bits"):
        load_images([io.BytesIO(png_of_16_bits_and_alpha(1000))], size=(2, 2))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_colours_that_are_multiplied_by_their_share(mode, rng):
    pixels = rng.integers(0, 256, size=(4, 4, len(mode))).astype(np.uint8)
    pixels[..., -1] = rng.choice([0, 255], size=(4, 4))
    image = Image.fromarray(pixels, mode=mode)
    expected = load_images([image], size=(4, 4))
    multiplied = image.convert(f"{mode[:-1]}a")
    np.testing.assert_array_equal(load_images([multiplied], size=(4, 4)), expected)


def test_without_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "skrnd\[images\]"'):
        load_image_folder(tmp_path, size=(8, 8))
    with pytest.raises(ImportError, match=r'load_images .*pip install "skrnd\[images\]"'):
        load_images([], size=(8, 8))


@pytest.mark.parametrize(
    ("picture", "match"),
    [(b"\x89PNG\x00", r"number 0 \(.*io\.BytesIO"), (np.zeros((4, 4)), r"number 0 \(an array")],
)
def test_what_is_no_file_is_told_of(picture, match):
    with pytest.raises(ValueError, match=match):
        load_images([picture], size=(4, 4))
