"""The weight-normalised dilated convolution over time."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Init = Literal["default", "normal"]
NORMAL_STD = 0.01
"""Bai, Kolter & Koltun 2018, section 5: weights drawn from N(0, 0.01); the released code takes 0.01 as the std."""


class Convolution(nn.Module):
    """A dilated convolution of (batch, time, channels) without padding.

    The weight of each filter is g · v / ||v|| (weight normalisation, Salimans & Kingma 2016).

    v: (out, in, k).  g: (out, 1, 1), the norm of each filter.  bias: (out,).
    It calls `torch._weight_norm` directly: `torch.nn.utils.parametrizations.weight_norm` makes a step of a narrow
    network slower, and the older hook leaves a non-leaf weight that `copy.deepcopy` refuses.

    init: `default` is PyTorch's initialisation of `nn.Conv1d`, uniform in ±1/√(in · k).  The released code trains from
    it, because its first forward pass overwrites its N(0, 0.01) from v and g.  `normal` draws the effective weight from
    N(0, 0.01).
    """

    def __init__(self, in_features: int, out_features: int, kernel_size: int, init: Init) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.empty(out_features, in_features, kernel_size))
        self.g = nn.Parameter(torch.empty(out_features, 1, 1))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.reset_parameters(init)

    @torch.no_grad()
    def reset_parameters(self, init: Init) -> None:
        """Draw v and the bias from the default random state; g = ||v||, so the effective weight is v.

        Do nothing on the meta device: a norm takes PyTorch milliseconds there, and a plan solves thousands.
        """
        if self.v.is_meta:
            return
        bound = 1 / math.sqrt(self.v.shape[1] * self.v.shape[2])
        if init == "normal":
            self.v.normal_(0, NORMAL_STD)
        else:
            self.v.uniform_(-bound, bound)
        self.g.copy_(torch.linalg.vector_norm(self.v, dim=(1, 2), keepdim=True))
        self.bias.uniform_(-bound, bound)

    @property
    def weight(self) -> Tensor:
        """The effective weight: (out, in, k)."""
        return torch._weight_norm(self.v, self.g, 0)

    def forward(self, x: Tensor, dilation: int = 1, stride: int = 1) -> Tensor:
        """(batch, time, in) → (batch, (time - (k - 1) · dilation - 1) // stride + 1, out), contiguous.

        It is computed in two dimensions with channels-last storage, which is (batch, time, channels) in memory and
        twice as fast as (batch, channels, time) at 24 channels.  PyTorch returns the layout of its input.  `contiguous`
        then costs nothing; it restores this layout if x has the other one or if one channel makes its strides
        ambiguous.
        """
        images = x.transpose(1, 2).unsqueeze(2)  # (batch, in, 1, time)
        filters = self.weight.unsqueeze(2)  # (out, in, 1, k)
        y = F.conv2d(images, filters, self.bias, stride=(1, stride), dilation=(1, dilation))
        return y.squeeze(2).transpose(1, 2).contiguous()

    def extra_repr(self) -> str:
        out_features, in_features, kernel_size = self.v.shape
        return f"{in_features}, {out_features}, kernel_size={kernel_size}"
