from __future__ import annotations

import pytest
import torch

from inn.system import device
from inn.system.device import resolve_device
from inn.system.errors import InputError


def test_auto_prefers_an_accelerator_and_falls_back_to_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"


def test_numbered_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="0 to 1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "cpu:1", "", "xla", "meta"])
def test_a_name_that_means_nothing_is_refused(name):
    with pytest.raises(InputError, match="choose auto"):
        resolve_device(name)


def test_a_device_that_is_not_here_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(InputError, match=rf"'{name}' is not available.*--device cpu"):
            resolve_device(name)


def test_threads_are_one_for_each_core_that_may_be_used(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4}, raising=False)
    monkeypatch.setattr(device, "_physical_core", lambda cpu: f"{cpu % 3}")
    monkeypatch.setattr(device, "_share_of_machine", lambda: 8)
    assert device.good_threads() == 3
    monkeypatch.setattr(device, "_share_of_machine", lambda: 2)
    assert device.good_threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert device.good_threads() == torch.get_num_threads()
