"""A part of a data set."""

from groundling.data.record import Dataset, Record


class FirstRecords:
    """The first records of a data set.

    Args:
        dataset: where they come from.
        count: how many; all where there are fewer.
    """

    def __init__(self, dataset: Dataset, count: int) -> None:
        self.dataset, self.count = dataset, min(count, len(dataset))

    @property
    def names(self) -> tuple[str, ...]:
        """The vocabulary of the data set."""
        return self.dataset.names

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self.count:
            raise IndexError(f"Record {index} of {self.count}.")
        return self.dataset[index]
