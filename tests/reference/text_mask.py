"""The sub-sentence mask with loops."""

DELIMITERS = (101, 102, 1012, 1029)


def sub_sentence_mask(ids: list[int]) -> tuple[list[list[bool]], list[int]]:
    """For one prompt: who sees whom, and each token's place in its phrase."""
    length = len(ids)
    sees = [[row == column for column in range(length)] for row in range(length)]
    positions = [0] * length
    start = 0
    for index, token in enumerate(ids):
        if token not in DELIMITERS:
            continue
        if index not in (0, length - 1):
            for row in range(start, index + 1):
                positions[row] = row - start
                for column in range(start, index + 1):
                    sees[row][column] = True
        start = index + 1
    return sees, positions


def phrases(ids: list[int]) -> list[list[int]]:
    """Token positions of each phrase between delimiters or padding."""
    found: list[list[int]] = []
    inside = False
    for index, token in enumerate(ids):
        if token in DELIMITERS or token == 0:
            inside = False
            continue
        if not inside:
            found.append([])
        inside = True
        found[-1].append(index)
    return found
