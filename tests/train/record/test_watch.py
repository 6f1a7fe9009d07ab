"""What a run is watched for: patience, jumps, collapse, and pictures learnt by heart."""

import math

import pytest

from limner.errors import NonFiniteError
from limner.train.record.watch import Watch


def test_patience_counts_validations_without_a_better_one() -> None:
    watch = Watch("validation", -1)
    for value, given_up in [(3.0, False), (2.0, False), (2.5, False), (2.0, True), (1.0, False)]:
        watch.after_validation({"validation": value})
        assert watch.gave_up(2) is given_up
    assert watch.best == 1.0
    for value in (4.0, 4.0, 4.0):
        watch.after_validation({"validation": value})
    assert not watch.gave_up(0)
    better = Watch("psnr", 1)
    for value in (20.0, 21.0, 19.0):
        better.after_validation({"psnr": value})
    assert (better.best, better.waited) == (21.0, 1)


def test_a_jump_of_the_loss_is_told_once() -> None:
    watch = Watch("validation", -1)
    notes = [watch.after_step(1 + 0.1 * math.sin(step), step) for step in range(200)]
    assert not any(notes)
    (note,) = watch.after_step(9.0, 200)
    assert note.startswith("the loss jumped to 9 at step 200, from about 1")
    assert watch.after_step(9.0, 201) == []
    early = Watch("validation", -1)
    assert not any(early.after_step(loss, step) for step, loss in enumerate([1.0, 50.0, 1.0]))


def test_three_validations_with_few_codes_are_a_collapse() -> None:
    watch = Watch("psnr", 1)
    used = [0.04, 0.5, 0.04, 0.03, 0.02, 0.02]
    told = [watch.after_validation({"psnr": 20.0 + n, "codes_used": u}) for n, u in enumerate(used)]
    assert [bool(notes) for notes in told] == [False] * 4 + [True, False]
    assert "collapse: only 2.0% of the codes are used" in told[4][0]


def test_a_discriminator_that_no_longer_errs_is_told() -> None:
    fair = Watch("psnr", 1)
    assert not any(fair.after_step(1.0, step, 1.2 + 0.5 * (step % 2)) for step in range(400))
    watch = Watch("psnr", 1)
    told = [watch.after_step(1.0, step, 0.01) for step in range(300)]
    at = [step for step, notes in enumerate(told) if notes]
    assert 150 < at[0] < 200 and len(at) == 2 and at[1] - at[0] > 100
    assert told[at[0]][0].startswith("the discriminator no longer errs (its loss is about 0.")
    half = Watch("psnr", 1)
    for step in range(100):
        half.after_step(1.0, step, 0.01)
    again = Watch("psnr", 1)
    again.restore(half.state())
    told = [again.after_step(1.0, step, 0.01) for step in range(100, 300)]
    assert [step for step, notes in enumerate(told, 100) if notes] == at


def test_learning_by_heart_is_told() -> None:
    watch, told = Watch("validation", -1), []
    for number, value in enumerate([2.0, 2.1, 2.2, 2.3]):
        for step in range(50):
            watch.after_step(2.0 - 0.3 * number, number * 50 + step)
        told += watch.after_validation({"validation": value})
    (note,) = told
    assert "validation got worse 3 times in a row, to 2.3: the model learns its pictures" in note
    both_rise, told = Watch("validation", -1), []
    for number, value in enumerate([2.0, 2.1, 2.2, 2.3]):
        both_rise.after_step(2.0 + number, number)
        told += both_rise.after_validation({"validation": value})
    assert told == []


def test_the_third_bad_batch_in_a_row_stops() -> None:
    watch, error = Watch("validation", -1), NonFiniteError("the loss is nan")
    assert "the batch of step 4 was left out" in watch.after_skip(error, 4)[0]
    watch.after_skip(error, 5)
    watch.after_step(1.0, 6)
    watch.after_skip(error, 7)
    watch.after_skip(error, 8)
    with pytest.raises(NonFiniteError):
        watch.after_skip(error, 9)


def test_a_state_goes_on_as_the_unbroken_one() -> None:
    one, other = Watch("validation", -1), Watch("validation", -1)
    for step in range(150):
        one.after_step(step % 7, step)
    one.after_validation({"validation": 2.0})
    other.restore(one.state())
    assert other == one
    other.restore(None)
    other.restore({"judged": "psnr", "unknown": 3})
    assert other == one
