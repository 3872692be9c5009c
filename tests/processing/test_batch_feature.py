import copy
import pickle

import numpy as np
import pytest
import torch

from groundling.processing import BatchFeature


def make() -> BatchFeature:
    return BatchFeature({"pixel_values": torch.zeros(1, 2), "input_ids": torch.tensor([[1, 2]]), "name": "x"})


def test_values_are_read_by_name_and_by_attribute() -> None:
    batch = make()
    assert batch.input_ids is batch["input_ids"]
    assert list({**batch}) == ["pixel_values", "input_ids", "name"]
    assert not isinstance(batch, dict)


def test_a_missing_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        make().nothing  # noqa: B018
    assert not hasattr(make(), "__wrapped__")


def test_an_index_is_refused() -> None:
    with pytest.raises(KeyError, match="indexed by name, not by 0"):
        make()[0]  # type: ignore[index]


@pytest.mark.parametrize("duplicate", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy, copy.copy])
def test_it_can_be_pickled_and_copied(duplicate) -> None:
    twin = duplicate(make())
    assert type(twin) is BatchFeature
    assert torch.equal(twin.input_ids, make().input_ids)
    assert twin.name == "x"


def test_to_casts_only_floating_tensors_and_changes_the_object() -> None:
    batch = make()
    batch["nested"] = [torch.zeros(1), (torch.zeros(1), torch.tensor(1))]
    batch["labels"] = [BatchFeature({"boxes": torch.zeros(1)})]
    assert batch.to(torch.float16) is batch
    assert batch.pixel_values.dtype == torch.float16
    assert batch.input_ids.dtype == torch.int64
    assert [batch.nested[0].dtype, batch.nested[1][0].dtype] == [torch.float16, torch.float16]
    assert isinstance(batch.nested[1], tuple)
    assert batch.nested[1][1].dtype == torch.int64
    assert batch.labels[0].boxes.dtype == torch.float32


@pytest.mark.parametrize("how", [(("meta",), {}), (("meta", torch.float64), {}), ((), {"device": "meta"})])
def test_to_moves_every_tensor(how) -> None:
    args, kwargs = how
    batch = make().to(*args, **kwargs)
    assert {batch.pixel_values.device.type, batch.input_ids.device.type} == {"meta"}
    assert batch.pixel_values.dtype == (torch.float64 if len(args) == 2 else torch.float32)
    assert batch.input_ids.dtype == torch.int64


def test_to_refuses_other_types() -> None:
    with pytest.raises(ValueError, match=r"Attempting to cast a BatchFeature to type 3\.5"):
        make().to(3.5)
    with pytest.raises(TypeError):
        make().to(torch.float16, "cpu")


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        pytest.param([], (0,), id="empty"),
        pytest.param([[1, 2], [3, 4]], (2, 2), id="lists"),
        pytest.param(np.zeros((2, 3)), (2, 3), id="array"),
        pytest.param([torch.zeros(3), torch.zeros(3)], (2, 3), id="tensors"),
        pytest.param(torch.zeros(4), (4,), id="tensor"),
    ],
)
def test_values_become_tensors_or_arrays(value, shape) -> None:
    tensor, array = BatchFeature({"x": value}, "pt").x, BatchFeature({"x": value}, "np").x
    assert isinstance(tensor, torch.Tensor)
    assert isinstance(array, np.ndarray)
    assert tuple(tensor.shape) == array.shape == shape


def test_ragged_values_and_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Unable to convert output 'x' \(type: list\) to tensor"):
        BatchFeature({"x": [[1, 2], [3]]}, "pt")
    with pytest.raises(ValueError, match="return_tensors='zz' is not a valid tensor type"):
        BatchFeature({"x": [1]}, "zz")
