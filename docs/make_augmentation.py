"""Writes docs/augmentation.png: the preset `strong` on the generated data set, as a run's augment.png shows it.

Usage: python docs/make_augmentation.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from segx_core.datasets import open_dataset
from segx_trainer.job import crop_size
from segx_trainer.loading import Pictures
from segx_trainer.sheet import draw_sheet

SHEET = Path(__file__).with_name("augmentation.png")


def main() -> None:
    """Draw the sheet of four samples."""
    data = open_dataset("scenes")
    pictures = Pictures(data, data.split("train"), "never", "train")
    sheet = Image.fromarray(draw_sheet(pictures, "strong", crop_size(pictures), samples=4))
    sheet.quantize(256).save(SHEET, optimize=True)  # a fraction of the bytes


if __name__ == "__main__":
    main()
