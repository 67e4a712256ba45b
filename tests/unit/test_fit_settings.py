"""How a fit has torch compute: as exactly as without oneDNN, and afterwards as before."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mbrl_control.learning import fit_settings
from mbrl_control.learning.fit_settings import FitSettings


def product_error(generator: torch.Generator) -> float:
    """Largest error of a product as in a fit, over its largest entry."""
    left, right = torch.randn(7, 300, 128, generator=generator), torch.randn(7, 128, 128, generator=generator)
    truth = left.double() @ right.double()
    return float((torch.bmm(left, right) - truth).abs().max() / truth.abs().max())


def test_fits_multiply_float32_as_such_on_any_processor() -> None:
    with FitSettings().on_torch():
        assert product_error(torch.Generator().manual_seed(1)) < 2e-6


def test_a_processor_that_rounds_is_noticed_and_left_to_its_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.bmm

    def rounding(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """As oneDNN with AMX, where it is allowed to."""
        if left.dtype == torch.float32 and torch.get_float32_matmul_precision() == "medium":
            return real(left.bfloat16().float(), right.bfloat16().float())
        return real(left, right)

    monkeypatch.setattr(torch, "bmm", rounding)
    fit_settings.exact_onednn.cache_clear()
    try:
        assert not fit_settings.exact_onednn()
        test_fits_multiply_float32_as_such_on_any_processor()
        with replace(FitSettings(), onednn=True).on_torch():  # whoever insists
            assert product_error(torch.Generator().manual_seed(1)) > 1e-4
    finally:
        fit_settings.exact_onednn.cache_clear()


def test_afterwards_torch_computes_as_before() -> None:
    before = (torch.get_num_threads(), torch.get_float32_matmul_precision())
    for onednn in (None, True, False):
        with FitSettings(onednn=onednn, threads=2).on_torch():
            assert torch.get_num_threads() == 2
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
