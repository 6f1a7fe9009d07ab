"""What words say of things: likelier answers, colours that are not exchanged, things alike."""

import torch

from limner.nn.told import Told, alike_things, crossed, each_once, settled, weigh


def test_words_make_an_answer_likelier_and_do_not_make_what_is_unknown_known() -> None:
    likely = torch.tensor([0.0, 0.0005, 0.0995])  # 0.9 that it is nothing known
    weigh(likely, [1], 1000.0)
    torch.testing.assert_close(likely, torch.tensor([0.0, 0.5, 0.0995]) / (0.5 + 0.0995 + 0.9))
    alone = torch.tensor([0.0, 0.3, 0.3])
    weigh(alone, [], 1000.0)
    torch.testing.assert_close(alone, torch.tensor([0.0, 0.3, 0.3]))


def test_things_are_alike_of_which_words_ask_for_several() -> None:
    likely = torch.tensor([[0.0, 0.9, 0.1], [0.0, 0.4, 0.6]])
    assert alike_things(likely).argmax(1).tolist() == [1, 1]
    assert alike_things(likely, [1]).argmax(1).tolist() == [1, 1]
    torch.testing.assert_close(alike_things(likely, []), likely)
    torch.testing.assert_close(alike_things(likely, [], 0.0), alike_things(likely))
    assert alike_things(likely[:0], [1]).shape == (0, 3)  # a picture without any, among others
    assert Told(((1, 2), (3, 4)), counts=(1, 2)).several == ([3], [4])
    assert Told().several == (None, None)


def test_the_colour_of_one_thing_is_not_that_of_the_other() -> None:
    pairs = torch.tensor([[1, 1], [1, 2], [2, 1], [2, 2], [1, 0], [3, 1]])
    assert crossed(pairs, ((1, 1), (2, 2))).tolist() == [False, True, True, False, False, False]
    assert not crossed(pairs, ()).any()


def test_what_may_be_a_star_beside_stars_is_a_star() -> None:
    likely = torch.tensor([[0.0, 0.99, 0.01], [0.0, 0.98, 0.02], [0.0, 0.2, 0.8]])
    found = alike_things(likely)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    assert found[2, 1] > 0.9 and found[0, 1] > 0.99
    unlike = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])  # two sure things stay what they are
    torch.testing.assert_close(alike_things(unlike), unlike)
    torch.testing.assert_close(alike_things(likely[2:]), likely[2:])
    unsure = torch.tensor([[0.0, 0.3, 0.1], [0.0, 0.3, 0.1]])  # 0.6 that each is nothing known
    torch.testing.assert_close(alike_things(unsure), unsure)
    known = alike_things(torch.cat([likely[:1], unsure[:1]]))
    assert known[1, 1] > 0.9 and known[1].sum() < 1


def test_of_things_that_words_name_once_each_none_is_there_twice() -> None:
    told = Told(((1, 1), (2, 2)), counts=(1, 1))
    nouns = torch.tensor([[0.0, 0.99, 0.01, 0.0], [0.0, 0.95, 0.04, 0.0]])  # 0.01 unknown
    colours = torch.tensor([[0.1, 0.5, 0.4], [0.1, 0.5, 0.4]])
    found, shades = each_once(nouns, colours, told)
    assert found.argmax(1).tolist() == [1, 2] and shades.argmax(1).tolist() == [1, 2]
    assert (found.sum(1) <= 1 + 1e-6).all() and (found >= 0).all()
    # Words that weigh nothing, and those of other numbers, change nothing.
    for other in (Told(told.things, counts=(1, 1), weight=0.0), Told(told.things, counts=(1, 2)),
                  Told(((1, 1),), counts=(1,)), Told()):  # fmt: skip
        torch.testing.assert_close(each_once(nouns, colours, other)[0], nouns)
        torch.testing.assert_close(each_once(nouns, colours, other)[1], colours)
    sure = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])  # a third thing, surely
    torch.testing.assert_close(each_once(sure, colours, told)[0], sure)
    three = Told(((1, 1), (2, 1), (3, 1)), counts=(1, 1, 1))
    nouns = torch.tensor([[0.0, 0.6, 0.3, 0.1], [0.0, 0.6, 0.1, 0.3], [0.0, 0.9, 0.05, 0.05]])
    found, _ = each_once(nouns, torch.ones(3, 2) / 2, three)
    assert found.argmax(1).tolist() == [2, 3, 1]


def test_between_answers_that_are_known_words_decide() -> None:
    likely = torch.tensor([[0.0, 0.5, 0.4, 0.0], [0.0, 0.4, 0.5, 0.1]])  # 0.1 unknown of the first
    wanted = torch.tensor([[0.0, 0.9, 0.0, 0.0], [0.0, 0.4, 0.5, 0.1]])
    torch.testing.assert_close(settled(likely, [1, 3]), wanted)
    torch.testing.assert_close(settled(likely, []), likely)
