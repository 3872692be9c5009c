"""A threshold by trying every one, with loops over Python numbers; Wilson's interval by its formula."""

import math

from reference.boxes import iou


def count(pictures, threshold):
    """Right boxes, wrong boxes and pictures without the label that have a box, at one threshold.

    Args:
        pictures: (objects, boxes, is_without, are_all_known) of each picture; boxes are (score, corners) pairs in any
            order.
        threshold: boxes must score more.
    """
    right = wrong = false_pictures = 0
    for objects, boxes, is_without, are_all_known in pictures:
        free = list(objects)
        kept = sorted((box for box in boxes if box[0] > threshold), key=lambda box: -box[0])
        for _, corners in kept:
            overlaps = [iou(corners, other) for other in free]
            if overlaps and max(overlaps) >= 0.5:
                free.pop(overlaps.index(max(overlaps)))
                right += 1
            elif are_all_known:
                wrong += 1
        false_pictures += bool(is_without and kept)
    return right, wrong, false_pictures


def lowest_threshold(pictures, precision, max_fp_rate, floor):
    """The lowest score, or the floor, that meets the targets as a threshold; None where none does."""
    without = sum(is_without for _, _, is_without, _ in pictures)
    meeting = []
    for threshold in {floor, *(score for _, boxes, _, _ in pictures for score, _ in boxes)}:
        right, wrong, false_pictures = count(pictures, threshold)
        if right and right / (right + wrong) >= precision and false_pictures <= max_fp_rate * without:
            meeting.append(threshold)
    return min(meeting, default=None)


def wilson(successes, trials, z=1.959963984540054):
    """Wilson 1927: the shares whose distance from the seen one is at most z of their own standard deviations."""
    share = successes / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    whole = 1 + z * z / trials
    return (middle - half) / whole, (middle + half) / whole
