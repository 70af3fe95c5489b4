"""Images of every bad kind, made here."""

import asyncio
import base64
import io
from pathlib import Path

import orjson
import pytest
from PIL import Image
from support.broken_pictures import huge_png

from mmevol_core.images import ImageFailure, ImagePolicy, ImageStore, Picture


def picture(path, size=(40, 30), kind="jpeg", **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.effect_mandelbrot(size, (-2, -1, 1, 1), 50).convert("RGB")
    image.save(path, kind, **save)
    return path


def data_url(sent: Picture) -> str:
    return orjson.loads(orjson.dumps(sent.url))


def decode(sent: Picture) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data_url(sent).split(",", 1)[1])))


def reason(store: ImageStore, name: str) -> str:
    with pytest.raises(ImageFailure) as caught:
        store.load(name)
    return caught.value.reason


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "a/../../secret.jpg", "linked/../../secret.jpg", "../root2/a.jpg"]
)
def test_no_name_leads_out_of_the_root(tmp_path, name, monkeypatch):
    picture(tmp_path / "secret.jpg")
    for folder in ("root", "root2"):
        (tmp_path / folder).mkdir()
    picture(tmp_path / "root2" / "a.jpg")
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "root2")
    assert reason(ImageStore(tmp_path / "root"), name) == "outside_root"
    monkeypatch.chdir(tmp_path / "root")
    assert reason(ImageStore(Path()), name) == "outside_root"


def test_links_that_lie_below_the_root_are_followed_wherever_they_lead(tmp_path):
    """Folders of pictures are linked into one tree, as files of a hub's cache are."""
    (tmp_path / "real" / "train").mkdir(parents=True)
    picture(tmp_path / "real" / "train" / "a.jpg")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "coco").symlink_to("../real")
    (tmp_path / "tree" / "a.jpg").symlink_to(tmp_path / "real" / "train" / "a.jpg")
    store = ImageStore(tmp_path / "tree")
    names = ("coco/train/a.jpg", "./a.jpg", "coco/../a.jpg", str(tmp_path / "tree" / "a.jpg"))
    assert len({store.load(name).digest for name in names}) == 1


def test_a_picture_that_would_decode_to_too_much_is_too_large_however_large(tmp_path):
    for side in (9_000, 40_000):  # above our own limit, above Pillow's
        (tmp_path / "huge.png").write_bytes(huge_png(side))
        assert reason(ImageStore(tmp_path), "huge.png") == "too_large"


@pytest.mark.parametrize("name", ["none.jpg", "folder", "x" * 5000, "a\0b", "loop"])
def test_what_is_not_there_is_missing(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert reason(ImageStore(tmp_path), name) == "missing"


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif"])
def test_half_a_file_is_refused(tmp_path, kind):
    whole = picture(tmp_path / "a", (200, 200), kind).read_bytes()
    (tmp_path / "a").write_bytes(whole[: len(whole) // 2])
    assert reason(ImageStore(tmp_path), "a") in {"truncated", "unreadable"}
    if kind == "jpeg":
        assert reason(ImageStore(tmp_path), "a") == "truncated"


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\xff\xd8\xff"])
def test_what_is_no_image_is_unreadable(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    assert reason(ImageStore(tmp_path), "a.jpg") in {"unreadable", "truncated"}


def test_too_many_bytes_or_pixels_are_refused(tmp_path):
    picture(tmp_path / "a.png", (100, 100), "png")
    assert reason(ImageStore(tmp_path, ImagePolicy(max_pixels=9_999)), "a.png") == "too_large"
    assert reason(ImageStore(tmp_path, ImagePolicy(max_bytes=100)), "a.png") == "too_large"


def test_a_small_upright_image_is_sent_as_its_own_bytes(tmp_path):
    path = picture(tmp_path / "a.jpg")
    sent = ImageStore(tmp_path).load("a.jpg")
    assert base64.b64decode(data_url(sent).removeprefix("data:image/jpeg;base64,")) == path.read_bytes()
    assert (sent.size, sent.original_size) == ((40, 30), (40, 30))


def test_a_large_image_is_reduced_with_its_shape_kept(tmp_path):
    picture(tmp_path / "a.png", (400, 100), "png")
    sent = ImageStore(tmp_path, ImagePolicy(max_side=100)).load("a.png")
    assert (sent.size, sent.original_size) == ((100, 25), (400, 100))  # 400/4, 100/4
    assert decode(sent).size == (100, 25)


def test_a_photo_taken_sideways_is_sent_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    picture(tmp_path / "a.jpg", (40, 30), exif=exif)
    assert decode(ImageStore(tmp_path).load("a.jpg")).size == (30, 40)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "CMYK", "1", "I;16"])
def test_every_colour_mode_can_be_sent_as_jpeg(tmp_path, mode):
    image = Image.new(mode, (20, 20))
    image.save(tmp_path / "a.tiff")
    sent = ImageStore(tmp_path, ImagePolicy(format="jpeg")).load("a.tiff")
    assert decode(sent).mode == "RGB"


def test_equal_bytes_have_equal_digests_and_another_policy_another(tmp_path):
    picture(tmp_path / "a.jpg", (64, 64))
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes())
    store, small = ImageStore(tmp_path), ImageStore(tmp_path, ImagePolicy(max_side=32))
    assert store.load("a.jpg").digest == store.load("b.jpg").digest
    assert store.load("a.jpg").digest != small.load("a.jpg").digest


def test_an_image_is_prepared_once_however_many_ask(tmp_path, monkeypatch):
    picture(tmp_path / "a.jpg")
    store, loads = ImageStore(tmp_path), []
    real = store.load
    monkeypatch.setattr(store, "load", lambda name: loads.append(name) or real(name))

    async def work() -> list[Picture]:
        return [*await asyncio.gather(*(store.get("a.jpg") for _ in range(20))), await store.get("a.jpg")]

    assert len({sent.digest for sent in asyncio.run(work())}) == 1
    assert loads == ["a.jpg"]


def test_the_cache_stays_within_its_room(tmp_path):
    for number in range(30):
        Image.effect_noise((300, 300 + number), 50).save(tmp_path / f"{number}.png")  # about 90 KB each
    store = ImageStore(tmp_path, cache_mb=1)

    async def work() -> None:
        for number in range(30):
            await store.get(f"{number}.png")

    asyncio.run(work())
    assert sum(sent.bytes for sent in store._cache.values()) == store._used <= 1 << 20
    assert 1 < len(store._cache) < 30


def test_a_failure_reaches_everybody_who_waited(tmp_path):
    async def work() -> list[object]:
        store = ImageStore(tmp_path)
        return await asyncio.gather(*(store.get("none.jpg") for _ in range(3)), return_exceptions=True)

    assert [failure.reason for failure in asyncio.run(work())] == ["missing"] * 3
