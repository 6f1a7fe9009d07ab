"""The prompt policy finds its terms in disguise, leaves what is harmless, and fails closed."""

import time
from pathlib import Path

import pytest

from limner.errors import ConfigError, DataError, PolicyError
from limner.finish.policy.rules import (
    ABOUT,
    REFUSED,
    UNAVAILABLE,
    Category,
    Policy,
    default_policy,
    read_policy,
)

ONE = Policy((Category("own", "what I dislike", ("green cheese", "kk", "绿奶酪"), ("kk tea",)),))


def term_in(text: str) -> str | None:
    found = default_policy().find(text)
    return found.term if found else None


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("a PORN star", "porn"),
        ("p o r n", "porn"),
        ("p.o.r.n", "porn"),
        ("p-o_r/n", "porn"),
        ("po rn", "porn"),
        ("p0rn!", "porn"),
        ("pooorrn", "porn"),
        ("p*rn", "porn"),
        ("p\u200bo\u00adrn", "porn"),
        ("рοrn", "porn"),  # Cyrillic and Greek
        ("ｐｏｒｎ", "porn"),
        ("𝓹𝓸𝓻𝓷 and 🄿🄾🅁🄽", "porn"),
        ("pörń", "porn"),
        ("n4k3d w0m4n", "naked woman"),
        ("k!ll myself", "kill myself"),
        ("$u1c1de", "suicide"),
        ("childporn", "child porn"),
        ("画色情图", "色情"),
        ("色 情", "色情"),
        ("色*情", "色情"),
        ("色\u200b情", "色情"),
        ("強姦", "强奸"),
        ("兒童裸體", "儿童裸体"),
    ],
)
def test_a_term_is_found_in_disguise(text: str, term: str) -> None:
    assert term_in(text) == term


@pytest.mark.parametrize(
    "text",
    [
        "a knife, a bomb and a water pistol",
        "a skull in the snow",
        "grapes, a therapist and a drapery in Scunthorpe",
        "a peacock with a cocktail",
        "a breast cancer ribbon",
        "nude lipstick",
        "yellow rape fields in bloom",
        "gore-tex boots",
        "a naked mole rat",
        "lol",
        "p.s. or not",
        "鸡胸肉",
        "射手座",
        "红色情人节卡片",
        "特色情侣餐厅",
        "做爱心蛋糕",
        "日光裸麦",
        "跳楼机",
        "林阴道",
    ],
)
def test_what_is_harmless_passes(text: str) -> None:
    assert term_in(text) is None
    default_policy().check(text)


def test_a_refused_prompt_is_told_with_its_category_and_term() -> None:
    with pytest.raises(PolicyError, match=r"sexual content \('hentai'\)") as caught:
        default_policy().check("h3ntai")
    assert (caught.value.exit_code, caught.value.code) == (6, REFUSED)


def test_every_category_of_the_default_is_named() -> None:
    policy = default_policy()
    assert [each.name for each in policy.categories] == list(ABOUT)
    for category in policy.categories:
        for term in category.terms:
            assert policy.find(f"a picture: {term}.") is not None, term
        for phrase in category.allow:
            assert policy.find(phrase) is None, phrase


def test_a_short_term_is_taken_as_it_stands() -> None:
    assert ONE.find("a KK here") and ONE.find("the green-cheese")
    assert ONE.find("k k") is None and ONE.find("kkk") is None and ONE.find("kk tea") is None
    assert ONE.find("kk tea and kk")  # the phrase allows its own place alone


def test_hooks_must_agree() -> None:
    asked = list[str]()

    def agrees(prompt: str) -> bool:
        asked.append(prompt)
        return True

    Policy(hooks=(agrees, agrees)).check("a cat")
    assert asked == ["a cat", "a cat"]
    with pytest.raises(PolicyError, match="refused by the check") as caught:
        Policy(hooks=(lambda prompt: False, agrees)).check("a cat")
    assert caught.value.code == REFUSED and len(asked) == 2


def raises(prompt: str) -> bool:
    raise OSError("no network")


def exits(prompt: str) -> bool:
    raise SystemExit(0)


def says_nothing(prompt: str) -> bool:
    return None  # type: ignore[return-value]


def says_one(prompt: str) -> bool:
    return 1  # type: ignore[return-value]


def sleeps(prompt: str) -> bool:
    time.sleep(30)
    return True


@pytest.mark.parametrize("hook", [raises, exits, says_nothing, says_one, sleeps])
def test_a_hook_that_is_broken_lets_nothing_pass(hook: object) -> None:
    policy = Policy(hooks=(hook,), seconds=0.2)  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match="gave no answer of True or False") as caught:
        policy.check("a cat")
    assert caught.value.code == UNAVAILABLE


@pytest.mark.parametrize("text", ["a b c d e f g " * 285, "s u i c i d " * 330, "色情人" * 1333])
def test_the_longest_prompts_take_no_long_time(text: str) -> None:
    began = time.process_time()
    assert default_policy().find(text) is None
    assert time.process_time() - began < 2  # quadratic time would be minutes


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_policy_of_ones_own_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path, 'version = 1\n[food]\nabout = "cheese"\nterms = ["brie"]\nallow = ["brie town"]\n'
    )
    policy = read_policy(path)
    assert policy.categories == (Category("food", "cheese", ("brie",), ("brie town",)),)
    with pytest.raises(PolicyError, match="cheese"):
        policy.check("some br1e")
    policy.check("brie town, porn")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version = ", "is not valid TOML"),
        ("[a]\nterms = []", "has no version = 1"),
        ("version = 2", "has no version = 1"),
        ("version = 1\nterms = []", "unknown key 'terms'; expected tables"),
        ("version = 1\n[a]\nterm = []", "unknown key 'a.term'; did you mean 'terms'"),
        ("version = 1\n[a]\nterms = 'x'", "a.terms is 'x'; expected a list of texts"),
        ("version = 1\n[a]\nterms = [1]", "expected a list of texts"),
        ("version = 1\n[a]\nabout = ['x']", "expected a text"),
        ("version = 1\n[a]\nterms = ['?!']", "has neither Latin letters nor Chinese"),
    ],
)
def test_a_wrong_policy_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("[", r"\[")):
        read_policy(written(tmp_path, text))


def test_a_policy_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_policy(tmp_path / "absent.toml")
