"""Write benchmarks/strangers.tsv: prompts as strangers type them, and what must be in the picture.

python benchmarks/strangers_make.py

240 prompts are templates filled with nouns of data/scenes/nouns.tsv, drawn at random by a fixed
seed; 60 were written by hand (benchmarks/strangers_free.tsv). They measure how the words of people
who never saw the captions are understood: change no reading of prompts because of a row, and no
row because of a reading. The reading was mended with the failures of an earlier table in view;
strangers_first.tsv keeps it as it was, made by this script with other templates, words and seed.
A few rows of this one are no longer blind either: "a jetliner", "merry christmas everyone!!!",
"a white cat with green eyes" and two Chinese ones were mended after they were seen in the gallery.

strangers_templates.txt has the templates by kind, language and number of prompts: a sentence, or
`sentence | column=value | ...` where more is asked than objects.
Fields: {x} a noun, {y} another; {ax} with its article, {xs} its plural, {cx} its Chinese
classifier, {ex} its emoji, {tx} the noun with a typo, {s} a word of SYNONYMS, {as} with its
article, {n} a colour of COLOURS, {an} with its article, {f} a word of TRADITIONAL.
"""

import csv
import random
import re
from collections.abc import Iterator
from pathlib import Path

from limner.data.scenes.captions import WITHOUT_ARTICLE
from limner.data.scenes.nouns import Noun, noun_index, nouns

HERE = Path(__file__).parent
COLUMNS = (
    "prompt", "kind", "language", "objects", "count", "colour", "background", "beyond", "without"
)  # fmt: skip
ANIMALS = 61  # the first rows of the table
SEED = 413
ONE = r"(?i)({an}|\b(an?|one|single)) .*{x}"  # a sentence about one of a thing
Row = dict[str, str]

# What people call the nouns besides the table's names; | where more than one noun will do.
SYNONYMS = {
    "en": """pooch=dog, mutt=dog, poodle=dog, kitties=cat, tabby=cat, tomcat=cat, mare=horse,
foal=horse, ox=cow|ox, calf=cow, hog=pig, lambs=sheep, billy goat=goat, moose=deer, chimp=monkey,
gorilla=monkey, dromedary=camel|dromedary, cobra=snake, moth=butterfly, tarantula=spider,
falcon=eagle,
cockatoo=parrot, clownfish=fish, limo=car, convertible=car, jetliner=airplane, biplane=airplane,
lorries=truck, double-decker=bus, tram=train|tram, ferry=ship, spaceships=rocket|flying saucer,
mansion=house, cabin=house, palace=castle, cathedral=church, oak=tree, spruce=pine tree,
stool=chair, blouse=t-shirt|blouse, frock=dress, denims=jeans, knapsack=backpack, latte=coffee,
sundae=ice cream, baguette=bread|baguette, clementine=orange, sweetcorn=corn, phantom=ghost,
bonfire=fire, prezzie=gift, loo=toilet, lamp=light bulb|lantern, computer=laptop,
hat=sun hat|top hat|baseball cap|graduation cap""",
    "zh": """狗子=dog, 柴犬=dog, 橘猫=cat, 喵喵=cat, 水牛=cow, 猪猪=pig, 小绵羊=sheep,
大猩猩=monkey, 蟒蛇=snake, 大灰狼=wolf, 小鸭鸭=duck, 蛾子=butterfly, 战斗机=airplane,
跑车=race car|car, 高铁=train, 大巴车=bus, 邮轮=ship, 宫殿=castle, 茅屋=house, 板凳=chair,
旗袍=dress, 拿铁=coffee, 圣代=ice cream, 土鸡蛋=egg, 苞米=corn, 机械人=robot, 火苗=fire,
座机=telephone, 单反=camera, 台灯=light bulb|lantern""",
}  # fmt: skip
COLOURS = {
    "en": """ruby=red, blood red=red, burgundy=red|purple|brown, cobalt=blue, azure=blue,
royal blue=blue, light blue=blue, aqua=blue|green, mint green=green, forest green=green,
neon green=green, mustard=yellow, lemon yellow=yellow, amber=yellow|orange, copper=orange|brown,
bronze=brown|orange, coral=pink|orange|red, fuchsia=pink|purple, baby pink=pink, lilac=purple,
plum=purple, mauve=purple|pink, beige=white|brown|yellow, tan=brown|orange|yellow,
jet black=black, snow white=white, slate=gray|blue, ash grey=gray""",
    "zh": """鲜红色=red, 酒红色=red, 湖蓝色=blue, 宝蓝色=blue, 草绿色=green, 翠绿色=green,
柠檬黄=yellow, 土黄色=yellow|brown, 桃红色=pink, 玫红色=pink|red, 淡紫色=purple,
巧克力色=brown, 乌黑=black, 雪白=white, 深灰色=gray, 橙红色=orange|red""",
}  # fmt: skip
TRADITIONAL = """鴨子=duck, 鴿子=dove, 駱駝=camel, 綿羊=sheep, 鸚鵡=parrot, 老鷹=eagle,
鱷魚=crocodile, 龍=dragon, 鯊魚=shark, 螞蟻=ant, 蝸牛=snail, 鬱金香=tulip, 鳳梨=pineapple,
藍莓=blueberry, 麵包=bread, 漢堡=hamburger, 薯條=french fries, 餅乾=cookie, 公車=bus,
摩托車=motorcycle, 直升機=helicopter, 帳篷=tent, 機器人=robot, 風箏=kite, 眼鏡=glasses,
圍巾=scarf, 襪子=socks, 鑽石=diamond, 門=door, 鏡子=mirror, 鬧鐘=alarm clock"""
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def article(name: str) -> str:
    """Return a name with the article that people put before it."""
    if name in WITHOUT_ARTICLE:
        return name
    vowel = name[0] in "aeiou" and not name.startswith(("uni", "ufo"))
    return f"an {name}" if vowel or name.startswith("hour") else f"a {name}"


def misspell(name: str, rng: random.Random) -> str:
    """Return a name with one letter a key aside, missing or swapped, or a wrong vowel.

    It is never the name of another noun.
    """
    while True:
        at, kind = rng.randrange(1, len(name)), rng.randrange(4)
        before, letter, after = name[:at], name[at], name[at + 1 :]
        if kind == 0:
            row = next(row for row in KEYBOARD if letter in row)
            where = row.index(letter)
            middle = rng.choice(row[max(0, where - 1) : where] + row[where + 1 : where + 2])
        elif kind == 1:
            middle = rng.choice("aeiou") if letter in "aeiou" else letter
        elif kind == 2:
            middle = ""
        else:
            middle, after = after[:1] + letter, after[1:]
        found = before + middle + after
        if found != name and found not in noun_index():
            return found


class Decks:
    """Words of SYNONYMS, COLOURS and TRADITIONAL in random order; none twice before all were."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.left: dict[str, list[str]] = {}

    def draw(self, text: str) -> tuple[str, str]:
        """Return a word of a list `word=meaning, ...`, and its meaning."""
        if not self.left.get(text):
            self.left[text] = re.split(r",\s+", text)
            self.rng.shuffle(self.left[text])
        word, _, meaning = self.left[text].pop().partition("=")
        return word, meaning


def fill(template: str, language: str, rng: random.Random, decks: Decks) -> Row:
    """Return a row whose sentence has its fields filled and whose columns say what is asked."""
    sentence, *asked = template.split(" | ")
    told = dict(part.split("=", 1) for part in asked)
    pool = nouns()[:ANIMALS] if "{animal}" in sentence else nouns()
    if "{t" in sentence:
        pool = tuple(each for each in pool if len(each.singular) > 3 and each.singular.isalpha())
    if "{xs}" in sentence or "count" in told or re.search(ONE, sentence):
        # nobody says "a lovely gloves"
        pool = tuple(each for each in pool if each.singular not in WITHOUT_ARTICLE)
    first, second = rng.sample(pool, 2)
    words = fields_of(first, second, language)
    if "{tx}" in sentence:
        words["tx"] = misspell(first.singular, rng)
    names = {"x": first.singular, "y": second.singular}
    if re.search(r"{a?s}", sentence):
        words["s"], names["x"] = decks.draw(SYNONYMS[language])
        words["as"] = words["s"] if words["s"].endswith("s") else article(words["s"])
    if "{f}" in sentence:
        words["f"], names["x"] = decks.draw(TRADITIONAL)
    if re.search(r"{a?n}", sentence):
        words["n"], told["colour"] = decks.draw(COLOURS[language])
        words["an"] = article(words["n"])
    if "objects" not in told:
        told["objects"] = "x+y" if re.search(r"{[aec]?y}", sentence) else "x"
    for column in ("objects", "without"):
        told[column] = "+".join(names[part] for part in told.get(column, "").split("+") if part)
    return told | {"prompt": sentence.format(**words)}


def fields_of(first: Noun, second: Noun, language: str) -> Row:
    """Return what fields about two nouns are filled with."""
    words: Row = {}
    for key, noun in (("x", first), ("y", second)):
        name = noun.singular if language == "en" else noun.chinese
        words |= {
            key: name, f"a{key}": article(name), f"{key}s": noun.plural,
            f"c{key}": noun.classifier, f"e{key}": noun.emoji,
        }  # fmt: skip
    words |= {"X": words["x"].title(), "AX": words["ax"].upper(), "Ax": words["ax"].title()}
    return words | {"animal": words["x"]}


def sections() -> Iterator[tuple[str, str, int, list[str]]]:
    """Yield kind, language, number of prompts and templates, which are taken in turn."""
    text = (HERE / "strangers_templates.txt").read_text(encoding="utf-8")
    for section in text.strip().split("\n\n"):
        heading, *templates = section.splitlines()
        kind, language, count = heading.strip("[]").split()
        yield kind, language, int(count), templates


def rows() -> list[Row]:
    """Return the 300 rows: those of the templates, then those written by hand."""
    rng = random.Random(SEED)
    decks = Decks(rng)
    found: dict[str, Row] = {}
    for kind, language, count, templates in sections():
        made = 0
        while made < count:
            row = fill(templates[made % len(templates)], language, rng, decks)
            if row["prompt"] not in found:
                found[row["prompt"]] = row | {"kind": kind, "language": language}
                made += 1
    with (HERE / "strangers_free.tsv").open(encoding="utf-8", newline="") as file:
        free = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [*found.values(), *(row | {"kind": "free"} for row in free)]


def write(path: Path) -> None:
    """Write the table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(COLUMNS) + "\n")
        for row in rows():
            file.write("\t".join(row.get(column) or "" for column in COLUMNS) + "\n")


if __name__ == "__main__":
    write(HERE / "strangers.tsv")
