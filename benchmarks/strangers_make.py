"""Write benchmarks/strangers.tsv: prompts as strangers type them, and what must be in the picture.

python benchmarks/strangers_make.py

240 prompts are templates filled with nouns of limner/data/nouns.tsv, drawn at random by a fixed
seed; 60 were written by hand (benchmarks/strangers_free.tsv). They measure how the words of people
who never saw the captions are understood: change no reading of prompts because of a row, and no
row because of a reading.

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

from limner.data.captions import WITHOUT_ARTICLE
from limner.data.nouns import Noun, nouns

HERE = Path(__file__).parent
COLUMNS = (
    "prompt", "kind", "language", "objects", "count", "colour", "background", "beyond", "without"
)  # fmt: skip
ANIMALS = 61  # the first rows of the table
SEED = 278
ONE = r"(?i)({an}|\b(an?|one|single)) .*{x}"  # a sentence about one of a thing
Row = dict[str, str]

# What people call the nouns besides the table's names; | where more than one noun will do.
SYNONYMS = {
    "en": """doggo=dog, puppies=dog, hound=dog, feline=cat, kittens=cat, bunnies=rabbit,
hen=rooster, bull=cow, stallion=horse, lioness=lion, gator=crocodile, orca=whale,
goldfish=fish, piggy=pig, pigeons=dove, duckling=duck, teddies=teddy bear, automobile=car,
automobiles=car, sports car=race car|car, chopper=helicopter, aircraft=airplane,
airliner=airplane, spacecraft=rocket|flying saucer, pickup=truck, steamboat=ship,
cottage=house, fortress=castle, parasol=umbrella, brolly=umbrella, telly=television,
cellphone=phone, settee=sofa, armchair=sofa|chair, tee=t-shirt, stilettos=high heel,
wellies=boot, tiara=crown, gemstones=diamond, padlocks=lock, fir=pine tree, conifer=pine tree,
spectre=ghost, android=robot, martian=alien, espresso=coffee, gelato=ice cream,
lolly=lollipop, doughnuts=donut, specs=glasses,
flowers=daisy|bouquet|rose|tulip|sunflower|cherry blossom, pushbike=bicycle, wasp=bee,
ball=soccer ball|basketball|volleyball|baseball|tennis racket, marguerite=daisy,
satsuma=orange""",
    "zh": """汪星人=dog, 猫猫=cat, 喵星人=cat, 兔兔=rabbit, 小马=horse, 金鱼=fish,
眼镜蛇=snake, 客机=airplane, 计程车=taxi, 彩电=television, 别墅=house, 香菇=mushroom,
鲜花=daisy|bouquet|rose|tulip|sunflower|cherry blossom, 雪糕=ice cream, 球鞋=sneaker,
双肩包=backpack, 太阳公公=sun, 咖啡杯=coffee, 大公鸡=rooster, 老牛=cow, 电脑=laptop,
蛋糕卷=cake, 小轿车=car, 宇宙飞船=rocket|flying saucer, 长颈鹿宝宝=giraffe""",
}  # fmt: skip
COLOURS = {
    "en": """crimson=red, teal=blue|green, navy=blue, silver=gray, golden=yellow,
gold=yellow, scarlet=red, maroon=red|brown, lime=green, magenta=pink|purple, violet=purple,
turquoise=blue|green, olive=green, salmon=pink|orange|red, cyan=blue, lavender=purple,
ivory=white, charcoal=gray|black, grey=gray, hot pink=pink, sky blue=blue, dark green=green,
emerald=green, chocolate=brown, indigo=blue|purple""",
    "zh": """金色=yellow, 银色=gray, 深红色=red, 天蓝色=blue, 粉红色=pink, 咖啡色=brown,
橘色=orange, 墨绿色=green, 紫罗兰色=purple, 大红色=red, 藏青色=blue, 米白色=white""",
}  # fmt: skip
TRADITIONAL = """貓=cat, 蘋果=apple, 烏龜=turtle, 飛機=airplane, 雞蛋=egg, 汽車=car,
自行車=bicycle, 蠟燭=candle, 鑰匙=key, 獅子=lion, 馬=horse, 魚=fish, 電視=television,
鋼琴=piano, 氣球=balloon, 禮物=gift, 太陽=sun, 雲=cloud, 長頸鹿=giraffe, 企鵝=penguin,
鯨魚=whale, 恐龍=dinosaur, 雨傘=umbrella, 書=book, 樹=tree"""


def article(name: str) -> str:
    """Return a name with the article that people put before it."""
    if name in WITHOUT_ARTICLE:
        return name
    vowel = name[0] in "aeiou" and not name.startswith(("uni", "ufo"))
    return f"an {name}" if vowel or name.startswith("hour") else f"a {name}"


def misspell(name: str, rng: random.Random) -> str:
    """Return a name of four letters or more with one letter swapped, missing or doubled."""
    places = [at for at in range(1, len(name) - 1) if name[at : at + 2].isalpha()]
    while True:
        at, kind = rng.choice(places), rng.randrange(3)
        found = (
            name[:at] + name[at + 1] + name[at] + name[at + 2 :],
            name[:at] + name[at + 1 :],
            name[:at] + name[at] + name[at:],
        )[kind]
        if found != name:
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
    words = fields_of(first, second, language, rng)
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


def fields_of(first: Noun, second: Noun, language: str, rng: random.Random) -> Row:
    """Return what fields about two nouns are filled with."""
    words: Row = {}
    for key, noun in (("x", first), ("y", second)):
        name = noun.singular if language == "en" else noun.chinese
        words |= {
            key: name, f"a{key}": article(name), f"{key}s": noun.plural,
            f"c{key}": noun.classifier, f"e{key}": noun.emoji,
        }  # fmt: skip
    words |= {"X": words["x"].title(), "AX": words["ax"].upper(), "Ax": words["ax"].title()}
    return words | {"animal": words["x"], "tx": misspell(first.singular.ljust(4, "s"), rng)}


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
