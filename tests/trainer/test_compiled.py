from __future__ import annotations

import shutil
import warnings
from typing import Any

import pytest
import torch

from segx_core.errors import SetupError
from segx_trainer import compiled
from segx_trainer.auxiliary import build_aux_head
from segx_trainer.networks import build_network

_COMPILER = shutil.which("g++") or shutil.which("clang++")


def test_plain_is_the_network_itself(make_config: Any) -> None:
    torch.manual_seed(0)
    network = build_network(make_config(), 3).eval()
    images = torch.zeros((1, 3, 32, 64), dtype=torch.uint8)
    with torch.no_grad(), compiled.chosen(False) as forward:
        logits, none = forward(network, None, images)
        assert torch.equal(logits, network(images))
        assert none is None
        both = forward(network, build_aux_head(network), images)
        assert torch.equal(both[0], logits)
        assert both[1] is not None
        assert both[1].shape == logits.shape


@pytest.mark.skipif(_COMPILER is None, reason="no C++ compiler on this machine")
def test_a_compiled_network_answers_alike_and_keeps_its_names() -> None:
    torch.manual_seed(0)
    network: Any = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())  # a whole one compiles for minutes
    inputs, names = torch.rand(5, 3), list(network.state_dict())
    wanted = network(inputs)
    gradient = torch.autograd.grad(wanted.sum(), network[0].weight)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of inductor and its dependencies, about themselves
        with compiled.chosen(True) as forward:
            answer, none = forward(network, None, inputs)
            assert none is None
            torch.testing.assert_close(answer, wanted)
            torch.testing.assert_close(torch.autograd.grad(answer.sum(), network[0].weight)[0], gradient)
    assert list(network.state_dict()) == names


def test_a_compiler_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config as inductor

    monkeypatch.setattr(inductor.cpp, "cxx", ("no-such-compiler",))

    def double(network: Any, auxiliary: Any, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return images.float().sin() * 2.5, None

    monkeypatch.setattr(compiled, "plain", double)

    def compile_it() -> None:
        with compiled.chosen(True) as forward:
            forward(torch.nn.Identity(), None, torch.zeros(5))  # type: ignore[arg-type]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SetupError, match=r"torch\.compile.*compiler"):
            compile_it()
