"""Random changes to images."""

import torch

from zoo.data.augment import augment, random_crop, random_rotation

BLACK = torch.tensor([-1.0, -2.0, -3.0])


def test_nothing_asked_for_nothing_done() -> None:
    images = torch.rand(4, 3, 8, 8)
    torch.testing.assert_close(augment(images, BLACK), images)


def test_crop_is_a_window_of_the_padded_image_and_of_its_own_for_each_image() -> None:
    torch.manual_seed(0)
    image = torch.arange(1.0, 65.0).view(1, 1, 8, 8)
    crops = random_crop(image.expand(200, 1, 8, 8), padding=2)
    padded = torch.nn.functional.pad(image[0, 0], [2] * 4)
    windows = {(i, j): padded[i : i + 8, j : j + 8] for i in range(5) for j in range(5)}
    found = [place for crop in crops for place, window in windows.items() if torch.equal(crop[0], window)]
    assert len(found) == 200 and set(found) == set(windows)


def test_what_comes_from_outside_is_black() -> None:
    torch.manual_seed(0)
    corners = augment(torch.zeros(64, 3, 8, 8), BLACK, padding=4)[:, :, [0, 0, 7, 7], [0, 7, 0, 7]]
    outside = corners != 0
    assert outside.any()
    torch.testing.assert_close(corners[outside], BLACK.view(1, 3, 1).expand_as(corners)[outside])


def test_flip_mirrors_about_half_of_the_images() -> None:
    torch.manual_seed(0)
    images = torch.rand(1000, 1, 4, 4)
    flipped = augment(images, torch.zeros(1), flip=True)
    mirrored = (flipped == images.flip(3)).all((1, 2, 3))
    assert ((flipped == images).all((1, 2, 3)) | mirrored).all()
    assert 437 < mirrored.sum() < 563  # four standard deviations


def test_rotation_angles_are_uniform_and_the_centre_stays() -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 101, 101)
    image[0, 0, 50, 50] = 1
    image[0, 0, 50, 90:93] = 1  # 41 pixels right of the centre
    rotated = random_rotation(image.expand(500, 1, 101, 101), 20.0)
    assert (rotated[:, :, 50, 50] == 1).all()
    rotated[:, :, 50, 50] = 0
    rows = torch.stack([r[0].nonzero()[:, 0].float().mean() - 50 for r in rotated])
    angles = torch.rad2deg(torch.asin(rows / 41))
    assert 18 < angles.abs().max() < 21
    assert angles.mean().abs() < 2.1 and abs(angles.std() - 20 / 3**0.5) < 1.5


def test_the_generator_decides() -> None:
    images = torch.rand(8, 3, 16, 16)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(augment(images, BLACK, padding=2, flip=True, degrees=20))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])
