"""The README's matrix of engines and stores is that of the tests."""

from engine_matrix import BEGIN, COMBINATIONS, END, README, cells, matrix


def test_the_readme_shows_what_is_tested() -> None:
    text = README.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    assert text == matrix(dict(zip(COMBINATIONS, cells(text), strict=True)))
