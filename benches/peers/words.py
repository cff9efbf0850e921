"""The words that all programs are trained on."""

import pathlib
import random

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHARACTERS = 27  # of the names, the end mark among them


def words(characters=CHARACTERS):
    """The names, or made-up words with `characters` different characters, the end mark among them."""
    if characters == CHARACTERS:
        return (ROOT / "data" / "names.txt").read_text().split()
    rng = random.Random(characters)
    letters = [chr(0x4E00 + i) for i in range(characters - 1)]
    return [letter + "".join(rng.choices(letters, k=rng.randrange(1, 4))) for letter in 4 * letters]
