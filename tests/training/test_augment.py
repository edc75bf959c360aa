import dataclasses
import math

import numpy as np
import pytest
from conftest import TINY, tiny_arrays, write_folder
from scipy import ndimage

from graphcnn.config.recipe import AUGMENTATIONS, Recipe
from graphcnn.training import augment

ALL = Recipe(flip="random", translate=2, zoom=0.2, rotate=30, shear=10, brightness=0.3, blur=0.8)
ALL_FLAGS = [f"--{name}={value}" for name, value in ALL.augmentation().items()]
SHAPES = [(300, 6, 5, 3), (300, 6, 5, 1), (300, 6, 5)]


def numbered(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def mirrored(kind, epoch, seed=51):
    """Return which of 1000 images were mirrored, bool [1000]."""
    images, recipe = numbered((1000, 2, 4, 3)), Recipe(flip=kind, seed=seed)
    result = augment.augmented(images, recipe, augment.draw_parameters(recipe, 1000, epoch), 255)
    same = (result == images).all(axis=(1, 2, 3))
    turned = (result == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ turned).all()
    return turned


def test_alternating_shows_each_image_both_ways_in_two_epochs():
    first, second, third = (mirrored("alternating", epoch) for epoch in (1, 2, 3))
    assert np.array_equal(first, ~second)
    assert np.array_equal(first, third)
    assert 0.45 < first.mean() < 0.55
    assert 0.4 < (first == mirrored("alternating", 1, seed=52)).mean() < 0.6


def test_random_mirrors_half_of_the_images_and_none_mirrors_no_image():
    first, second = (mirrored("random", epoch) for epoch in (1, 2))
    assert 0.45 < first.mean() < 0.55
    assert 0.4 < (first == second).mean() < 0.6
    assert not mirrored("none", 1).any()


@pytest.mark.parametrize("shape", SHAPES)
def test_translated_images_are_windows_of_the_mirrored_edge(shape):
    images, drawn = numbered(shape), augment.draw_parameters(Recipe(translate=2), 300, 1)
    result = augment.translated(images, 2, drawn["down"], drawn["right"])
    assert result.shape == shape
    assert result.dtype == np.uint8
    found = set()
    for image, shifted in zip(images, result, strict=True):
        padded = np.pad(image, [(2, 2), (2, 2)] + [(0, 0)] * (image.ndim - 2), "reflect")
        windows = {(i, j): padded[i : i + 6, j : j + 5] for i in range(5) for j in range(5)}
        matching = {place for place, window in windows.items() if np.array_equal(window, shifted)}
        assert matching
        found |= matching
    assert len(found) == 25
    assert np.array_equal(images, numbered(shape))


def test_parameters_cover_their_ranges():
    drawn = augment.draw_parameters(ALL, 10_000, 1)
    turn, slant = math.radians(30), math.radians(10)
    ranges = {"scale": (0.8, 1.2), "angle": (-turn, turn), "shear": (-slant, slant), "brightness": (0.7, 1.3)}
    for name, (low, high) in {**ranges, "sigma": (0, 0.8)}.items():
        values, width = drawn[name], high - low
        assert low <= values.min() < low + 0.01 * width, name
        assert high - 0.01 * width < values.max() <= high, name
        assert abs(values.mean() - (low + high) / 2) < 0.02 * width, name
    assert set(drawn["down"]) == set(drawn["right"]) == set(range(5))
    names = [name for name in augment.PARAMETERS.names if name not in ("mirrored", "down", "right")]
    assert np.abs(np.corrcoef([drawn[name] for name in names]) - np.eye(len(names))).max() < 0.05


def test_augmentation_of_an_image_does_not_depend_on_its_batch():
    images, drawn = numbered((50, 13, 10, 3)), augment.draw_parameters(ALL, 50, 3)
    whole = augment.augmented(images, ALL, drawn, 255)
    order = np.random.default_rng(0).permutation(50)
    for size in (1, 7, 32):
        for start in range(0, 50, size):
            rows = order[start : start + size]
            assert np.array_equal(augment.augmented(images[rows], ALL, drawn[rows], 255), whole[rows])
    assert np.array_equal(augment.draw_parameters(ALL, 80, 3)[:50], drawn)
    for other in (
        augment.draw_parameters(ALL, 50, 4),
        augment.draw_parameters(dataclasses.replace(ALL, seed=52), 50, 3),
    ):
        changed = augment.augmented(images, ALL, other, 255)
        assert (np.abs(changed - whole).max(axis=(1, 2, 3)) > 1).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pixel_max", [255, 1])
def test_grey_and_float_images(shape, pixel_max):
    """Grey images become three equal channels. Images in 0..1 become 1/255 of the same images in 0..255."""
    images, drawn = numbered(shape), augment.draw_parameters(ALL, 300, 1)
    given = images if pixel_max == 255 else images.astype(np.float64) / 255
    result = augment.augmented(given, ALL, drawn, pixel_max)
    assert result.shape == (300, 6, 5, 3)
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= pixel_max
    in_colour = np.stack([images] * 3, axis=-1) if len(shape) == 3 else np.broadcast_to(images, (300, 6, 5, 3))
    expected = augment.augmented(in_colour, ALL, drawn, 255) / 255
    assert np.abs(result / pixel_max - expected).max() < 1e-5


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_augmentation_changes_images_and_no_augmentation_does_not(name):
    images = numbered((20, 8, 8, 3))
    alone, none = Recipe(**{name: getattr(ALL, name)}), Recipe()
    assert alone.augmentation() == {name: getattr(ALL, name)}
    assert not np.array_equal(augment.augmented(images, alone, augment.draw_parameters(alone, 20, 1), 255), images)
    assert np.array_equal(augment.augmented(images, none, augment.draw_parameters(none, 20, 1), 255), images)


def warped(images, scale=1.0, turn=0.0, slant=0.0):
    count = len(images)
    numbers = (np.full(count, value) for value in (scale, math.radians(turn), math.radians(slant)))
    return augment.warped(images, augment.transforms(images.shape[1:3], *numbers))


def test_an_identity_warp_changes_nothing_and_a_quarter_turn_is_rot90():
    square, oblong = (numbered(shape).astype(np.float32) for shape in ((4, 7, 7, 3), (4, 7, 10, 3)))
    assert np.array_equal(warped(oblong), oblong)
    assert np.abs(warped(square, turn=90) - np.rot90(square, axes=(1, 2))).max() < 1e-3
    assert np.abs(warped(oblong, turn=180) - oblong[:, ::-1, ::-1]).max() < 1e-3


def test_zoom_and_shear_move_a_pixel_to_its_expected_position():
    """The pixel is two pixels right of and one pixel below the centre of an 11x11 image."""
    image = np.zeros((1, 11, 11, 1), np.float32)
    image[0, 6, 7] = 1
    larger, leaning = warped(image, scale=2.0)[0, :, :, 0], warped(image, slant=45)[0, :, :, 0]
    assert np.unravel_index(larger.argmax(), larger.shape) == (7, 9)
    assert larger.sum() == pytest.approx(4)
    assert np.unravel_index(leaning.argmax(), leaning.shape) == (6, 8)


@pytest.mark.parametrize("shape", [(8, 12, 9, 3), (8, 9, 12, 1)])
def test_warp_equals_scipy_affine_transform(shape):
    """SciPy's matrix maps (row, column) of the result to the source, so it is the inverse of the transform."""
    images, drawn = numbered(shape).astype(np.float32), augment.draw_parameters(ALL, 8, 1)
    found = augment.warped(images, augment.transforms(shape[1:3], drawn["scale"], drawn["angle"], drawn["shear"]))
    middle = (np.array(shape[1:3]) - 1) / 2
    for image, result, row in zip(images, found, drawn, strict=True):
        cosine, sine = math.cos(row["angle"]), math.sin(row["angle"])
        turn, lean = np.array([[cosine, -sine], [sine, cosine]]), np.array([[1, 0], [math.tan(row["shear"]), 1]])
        back = np.linalg.inv(row["scale"] * turn @ lean)
        for channel in range(shape[3]):
            expected = ndimage.affine_transform(
                image[..., channel], back, middle - back @ middle, order=1, mode="reflect"
            )
            assert np.abs(result[..., channel] - expected).max() < 0.01


@pytest.mark.parametrize("shape", [(6, 12, 9, 3), (6, 4, 5, 1)])
def test_blur_equals_scipy_gaussian_filter(shape):
    images, sigma = numbered(shape).astype(np.float32), np.array([0, 0.2, 0.5, 1.0, 1.7, 2.0])
    found = augment.blurred(images, sigma, 6)
    assert np.array_equal(found[0], images[0])
    for image, result, each in zip(images[1:], found[1:], sigma[1:], strict=True):
        expected = ndimage.gaussian_filter(image, (each, each, 0), mode="mirror", truncate=6 / each)
        assert np.abs(result - expected).max() < 1e-3
    assert np.array_equal(images, numbered(shape))


def test_brightness_is_a_factor_within_the_pixels_range():
    images, recipe = numbered((40, 4, 4, 3)), Recipe(brightness=0.9)
    drawn = augment.draw_parameters(recipe, 40, 1)
    expected = np.minimum(images * drawn["brightness"][:, None, None, None], 255)
    assert np.abs(augment.augmented(images, recipe, drawn, 255) - expected).max() < 1e-4


def test_training_sees_augmented_images_and_the_dev_pass_does_not(data_folder, tmp_path, command, monkeypatch):
    """The batches equal `augmented` with the parameters of the epoch."""
    from graphcnn.evaluation import predictor
    from graphcnn.training import stages

    seen, shown = [], []
    make, probabilities = stages.training_images, predictor.probabilities

    def noted(recipe, dataset, rows, parameters):
        seen.append((recipe, rows, make(recipe, dataset, rows, parameters)))
        return seen[-1][2]

    def watched(session, graph, images, *arguments, **keywords):
        shown.append(images)
        return probabilities(session, graph, images, *arguments, **keywords)

    monkeypatch.setattr(stages, "training_images", noted)
    monkeypatch.setattr(predictor, "probabilities", watched)
    common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", *TINY, "--epochs=2", *ALL_FLAGS]
    common.append("--precision=bfloat16")
    assert command("train", *common, "--run=a").status == 0
    x, _ = tiny_arrays()
    steps = len(seen) // 2
    for n, (recipe, rows, images) in enumerate(seen):
        drawn = augment.draw_parameters(recipe, len(x), 1 + n // steps)
        assert np.array_equal(images, augment.augmented(x[rows], recipe, drawn[rows], 255))
        assert recipe.augmentation() == ALL.augmentation()
    assert len(shown) == 3  # after each epoch, and the float32 score at the end
    assert all(np.array_equal(images, x) for images in shown)


class TestSheet:
    @pytest.mark.pictures
    def test_it_shows_the_images_of_training_and_trains_nothing(self, tmp_path, command, monkeypatch):
        from PIL import Image

        from graphcnn.evaluation import pictures

        x, y = tiny_arrays()
        data = write_folder(tmp_path / "data", x_train=x[:, :, :12], y_train=y, x_test=None, y_test=None)
        drawn, draw = [], pictures.augmentation
        monkeypatch.setattr(pictures, "augmentation", lambda *arguments: (drawn.append(arguments), draw(*arguments)))
        root = tmp_path / "new"
        outcome = command("train", f"--data={data}", f"--checkpoints={root}", "--show_augmentation", *ALL_FLAGS)
        assert outcome.status == 0, outcome.err
        assert str(root / "augmentation.png") in outcome.out
        assert [path.name for path in root.iterdir()] == ["augmentation.png"]
        with Image.open(root / "augmentation.png") as picture:
            assert picture.width > 8 * 60
            assert picture.height > 6 * 60
        originals, epochs, title, _ = drawn[0]
        rows = [int(np.flatnonzero((x[:, :, :12] / np.float32(255) == each).all((1, 2, 3)))[0]) for each in originals]
        assert len(set(rows)) == 8
        assert min(rows) >= 24  # the dev split is not shown
        assert len(epochs) == 5
        for epoch, images in enumerate(epochs, 1):
            expected = augment.augmented(x[rows, :, :12], ALL, augment.draw_parameters(ALL, 96, epoch)[rows], 255)
            assert np.array_equal(images, expected / 255)
        assert "rotate 30.0" in title

    def test_an_existing_run_is_not_changed(self, trained_copy, trained, command):
        before = {p: p.read_bytes() for p in trained_copy.rglob("*") if p.is_file()}
        common = [f"--data={trained[1]}", f"--checkpoints={trained_copy}", "--run=tiny", "--show_augmentation"]
        for more in ([], ["--overwrite"]):
            assert command("train", *common, *more, "--flip=random", "--epochs=1").status == 0
        (trained_copy / "augmentation.png").unlink()
        assert {p: p.read_bytes() for p in trained_copy.rglob("*") if p.is_file()} == before

    def test_it_says_that_a_frozen_backbone_trains_on_unchanged_images(self, data_folder, tmp_path, command):
        common = [f"--data={data_folder}", f"--checkpoints={tmp_path}", "--recipe=transfer", "--flip=random"]
        outcome = command("train", *common, "--show_augmentation")
        assert outcome.status == 0, outcome.err
        assert "trains the head on unchanged images, so the augmentation (--flip) has no effect" in outcome.out
        assert (tmp_path / "augmentation.png").exists()
        outcome = command("train", *common, "--show_augmentation", "--feature_views=2")
        assert "unchanged images" not in outcome.out
