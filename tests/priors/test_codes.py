"""Code tables share what codes share; a head draws what it predicts."""

import pytest
import torch
from torch import Tensor

from limner.priors.codes import CellHead, CodeTable, embed_cells

LEVELS = (4, 3, 2)
VOCABULARY = 24
WIDTH = 8


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def digits(value: int) -> tuple[int, ...]:
    return value % 4, value // 4 % 3, value // 12


def table_of(groups: int = 2, levels: tuple[int, ...] = LEVELS) -> CodeTable:
    return CodeTable(groups, VOCABULARY, levels, WIDTH, 1.0)


@torch.no_grad()
def test_a_vector_is_its_own_plus_one_for_each_digit() -> None:
    table = table_of()
    found = table()
    assert found.shape == (2, VOCABULARY, WIDTH)
    for group in range(2):
        for value in range(VOCABULARY):
            first, second, third = digits(value)
            rows = table.by_digit[group]
            wanted = table.free[group, value] + rows[first] + rows[4 + second] + rows[7 + third]
            torch.testing.assert_close(found[group, value], wanted)


@torch.no_grad()
def test_values_that_differ_in_a_digit_share_the_rest() -> None:
    table = table_of(groups=1)
    table.free.zero_()
    (vectors,) = table()
    moves = {
        digits(value)[1:]: vectors[value + 1] - vectors[value] for value in range(0, VOCABULARY, 4)
    }
    assert len(moves) == 6
    for move in moves.values():
        torch.testing.assert_close(move, moves[0, 0])
    assert len(vectors.unique(dim=0)) == VOCABULARY


def test_learning_one_value_teaches_those_with_its_digits() -> None:
    table = table_of(groups=1)
    before = table().detach()[0]
    table()[0, 5].sum().backward()
    with torch.no_grad():
        for parameter in table.parameters():
            assert parameter.grad is not None
            parameter.sub_(parameter.grad)
        moved = (table()[0] - before).abs().sum(-1) > 1e-6
    related = [any(a == b for a, b in zip(digits(v), digits(5), strict=True)) for v in range(24)]
    assert moved.tolist() == related


@pytest.mark.parametrize("levels", [(), (4, 4), (24, 2)])
@torch.no_grad()
def test_levels_of_another_vocabulary_share_nothing(levels: tuple[int, ...]) -> None:
    table = table_of(levels=levels)
    assert table.by_digit.shape == (2, 0, WIDTH)
    assert torch.equal(table(), table.free)


@torch.no_grad()
def test_a_cell_is_the_sum_of_its_codes() -> None:
    table = table_of()()
    codes = torch.tensor([[[3, 7], [0, 23]]])
    found = embed_cells(table, codes)
    assert found.shape == (1, 2, WIDTH)
    torch.testing.assert_close(found[0, 0], table[0, 3] + table[1, 7])
    torch.testing.assert_close(found[0, 1], table[0, 0] + table[1, 23])


def lively(groups: int) -> CellHead:
    head = CellHead(groups, VOCABULARY, LEVELS, WIDTH, hidden=12)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return head


@pytest.mark.parametrize("groups", [1, 2, 3])
@torch.no_grad()
def test_what_is_drawn_is_what_is_predicted(groups: int) -> None:
    head, inputs, features = lively(groups), table_of(groups)(), torch.randn(6, WIDTH)
    seen: list[Tensor] = []

    def choose(logits: Tensor, group: int) -> Tensor:
        assert group == len(seen)
        seen.append(logits)
        return logits.argmax(-1)

    codes = head.draw(features, choose, inputs, head.table())
    assert codes.shape == (6, groups)
    logits = head(features, codes, inputs)
    assert logits.shape == (6, groups, VOCABULARY)
    torch.testing.assert_close(torch.stack(seen, dim=1), logits)
    assert torch.equal(logits.argmax(-1), codes)


@torch.no_grad()
def test_a_code_knows_the_ones_before_it_alone() -> None:
    head, inputs, features = lively(3), table_of(3)(), torch.randn(1, WIDTH)
    codes = torch.tensor([[1, 2, 3]])
    before = head(features, codes, inputs)[0]
    for group in range(3):
        changed = codes.clone()
        changed[0, group] += 5
        after = head(features, changed, inputs)[0]
        torch.testing.assert_close(before[: group + 1], after[: group + 1])
        for later in range(group + 1, 3):
            assert not torch.allclose(before[later], after[later])


def test_vectors_of_no_width_are_a_table_too() -> None:
    """As crf asks for where a cell has one code; torch's own sum of rows fails on them."""
    assert CodeTable(1, 16, (4, 4), 0, 0.1)().shape == (1, 16, 0)
