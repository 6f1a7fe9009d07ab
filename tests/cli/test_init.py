import pytest

from limner import cli
from limner.errors import NonFiniteError


def outcome(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    *words: str,
) -> tuple[object, str]:
    """Run the command line with a command that raises `error`."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NonFiniteError("the drawing holds NaN"), 7, "limner: the drawing holds NaN\n"),
        (MemoryError(), 5, "limner: there is not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 5, "not enough memory"),
        (ZeroDivisionError("by zero"), 1, "limner: internal error, ZeroDivisionError: by zero;"),
    ],
)
def test_every_error_has_its_exit_code_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    text: str,
) -> None:
    found, printed = outcome(monkeypatch, capsys, error)
    assert found == code
    assert text in printed
    assert "Traceback" not in printed


def test_debug_shows_where_a_fault_of_our_own_came_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, printed = outcome(monkeypatch, capsys, ZeroDivisionError("by zero"), "--debug")
    assert "Traceback" in printed
    assert "in fail" in printed


def test_stopping_by_hand_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.registry.find", stop)
    with pytest.raises(SystemExit) as caught:
        cli.main(["models", "show", "default"])
    assert caught.value.code == 130
