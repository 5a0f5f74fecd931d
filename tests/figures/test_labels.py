import numpy as np

from kvae.figures import style
from kvae.figures.labels import name_groups


def named(points, groups, names):
    """Draw groups and give each name's box in pixels, and all points in pixels."""
    figure = style.new_figure(7, 7, "t")
    axes = figure.add_subplot()
    axes.scatter(*points.T, s=9)
    name_groups(figure, axes, points, groups, names)
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    return boxes, axes.transData.transform(points)


def test_names_cover_no_points_where_there_is_room_and_stand_by_their_groups():
    rng = np.random.default_rng(0)
    sizes = [300, 200, 3, 2, 1]
    middles = np.array([[0, 0], [10, 0], [1.5, 1.5], [0, 8], [8, 8]])
    groups = np.repeat(np.arange(5), sizes)
    points = middles[groups] + rng.normal(size=(len(groups), 2)) * [1, 1]
    points[groups >= 2] = middles[groups[groups >= 2]] + 0.1 * rng.normal(size=(6, 2))
    boxes, pixels = named(points, groups, ["a", "b", "rare", "rarer", "rarest"])
    assert set(boxes) == {"a", "b", "rare", "rarer", "rarest"}
    for group, (_, box) in enumerate(sorted(boxes.items())):
        covered = ((pixels > box.min) & (pixels < box.max)).all(1)
        assert not covered[groups >= 2].any()
        assert covered.sum() == 0
        outside = np.maximum(np.maximum(box.min - pixels, pixels - box.max), 0)
        nearest = np.linalg.norm(outside, axis=1).argmin()
        assert groups[nearest] == group


def test_names_do_not_lie_on_each_other():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(50), 20)
    points = 10 * rng.uniform(size=(50, 2))[groups] + 0.1 * rng.normal(size=(1000, 2))
    boxes, _ = named(points, groups, [str(group) for group in range(50)])
    placed = list(boxes.values())
    assert len(placed) == 50
    for index, box in enumerate(placed):
        assert not any(box.overlaps(other) for other in placed[:index])


def test_a_group_that_is_everywhere_has_no_name_on_the_map():
    points = np.random.default_rng(0).normal(size=(400, 2))
    assert named(points, np.arange(400) % 4, list("abcd"))[0] == {}
    assert named(points, np.zeros(400, int), ["a"])[0] == {}
