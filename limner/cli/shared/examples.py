"""Two examples for the help of every command; each runs as it is printed where its files are."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "draw": (
        ('limner draw "three red apples under the night sky"', "One picture, in this folder."),
        (
            'limner draw "夜空下的三个红苹果" -n 4 --seed 7 --out pictures/',
            "Four pictures with the seeds 7 to 10.",
        ),
    ),
    "vary": (
        ("limner vary photo.png -n 3", "Three pictures that show what the photo shows."),
        (
            'limner vary photo.png "at night" --out pictures/',
            "The same, and as the words say.",
        ),
    ),
    "again": (
        ("limner again apple.png", "The same picture, from what its file says."),
        ("limner again apple.png --seed 8", "The same words with another seed."),
    ),
    "info": (
        ("limner info apple.png", "The prompt, seed and model of a picture."),
        ("limner info apple.png --json", "The same, for a program."),
    ),
    "models list": (
        ("limner models list", "Name, family, size and licence of each."),
        ("limner models list --json", "The same, for a program."),
    ),
    "models parts": (
        ("limner models parts", "Every name that a config can take."),
        ("limner models parts --json", "The same, for a program."),
    ),
    "models show": (
        ("limner models show default", "The model that draw uses."),
        ("limner models show runs/prior", "The model that a run made."),
    ),
    "models words": (
        ("limner models words gan", "What this model can be asked for."),
        ("limner models words gan --search dog", "Only words with these letters."),
    ),
    "data make scenes": (
        ("limner data make scenes --out scenes --count 100", "A hundred captioned pictures."),
        (
            "limner data make scenes --out zh --split held_out --count 50 --language zh",
            "Scenes that training never shows, captioned in Chinese.",
        ),
    ),
    "data make stamps": (
        ("limner data make stamps --out stamps", "All stamps, captioned in English and Chinese."),
        (
            "limner data make stamps --out few --count 100 --size 64 --languages de",
            "A hundred small ones, captioned in German.",
        ),
    ),
    "data make clipart": (
        ("limner data make clipart --out clipart --count 1000", "A thousand from all over."),
        (
            "limner data make clipart --out grey --background gray",
            "All of it, on grey.",
        ),
    ),
    "data check": (
        ("limner data check photos", "What is in a folder, and what is wrong with it."),
        (
            "limner data check photos --validation held --out checked",
            "Whether validation repeats it too, and a sheet of pictures.",
        ),
    ),
    "data clean": (
        ("limner data clean photos --out cleaned", "A list of what to keep."),
        (
            "limner data clean photos --out squares --fit crop --size 64 --write",
            "The kept pictures, cut to squares of 64 pixels.",
        ),
    ),
    "data encode": (
        (
            "limner data encode photos --codec default --out codes",
            "With the codec of the model that draw uses.",
        ),
        (
            "limner data encode photos --codec runs/codec --out more --crops 4 --flip 0.5",
            "With one's own codec; each picture and three altered ones.",
        ),
    ),
    "train": (
        (
            "limner train configs/codec.toml --plan",
            "Memory, time and cost of a run, without running it.",
        ),
        (
            "limner train configs/codec.toml --on photos --out runs/codec",
            "A codec of one's own pictures.",
        ),
    ),
    "adapt": (
        (
            "limner adapt default --on photos --word mydog --out dog.safetensors",
            "Teach the model a thing; then: limner draw mydog --adapter dog.safetensors",
        ),
        (
            "limner adapt default --on photos --word mydog --out dog.safetensors --resume",
            "Go on where it stopped.",
        ),
    ),
    "eval": (
        ("limner eval", "The scene score of the model that draw uses."),
        (
            "limner eval runs/prior --count 50 --sets seen,chinese",
            "A quicker look at one's own model, in both languages.",
        ),
    ),
    "compare": (
        ("limner compare default runs/prior", "Whether one's own model is the better one."),
        (
            "limner compare default gan --on prompts.txt --count 100",
            "Two models on prompts of one's own, judged by a CLIP.",
        ),
    ),
    "arena": (
        (
            "limner arena default runs/prior --prompts prompts.txt --out duel",
            "Draw, serve a page, and count the votes.",
        ),
        ("limner arena --out duel --report", "What the votes so far say."),
    ),
    "rank": (
        (
            'limner rank apple.png photo.png --prompt "a red apple"',
            "The one that fits best first.",
        ),
        (
            'limner rank apple.png photo.png --prompt "一个红苹果" --json',
            "The same in Chinese, for a program.",
        ),
    ),
    "clip classify": (
        ("limner clip classify photo.png --labels cat,dog,apple", "Which of three it shows."),
        ("limner clip classify photo.png --labels 猫,狗,苹果 --json", "The same, for a program."),
    ),
    "audit memorisation": (
        (
            "limner audit memorisation default --on photos --captions 20",
            "Draw captions of the training data and look for copies.",
        ),
        (
            "limner audit memorisation pictures --on photos",
            "Look for copies among pictures that are drawn already.",
        ),
    ),
    "audit bias": (
        (
            "limner audit bias default --labels red,green,blue --prompts prompts.txt",
            "Which colours the model gives where a prompt names none.",
        ),
        (
            "limner audit bias sheet.csv --labels red,green,blue --shares 0.2,0.2,0.6",
            "The same of a sheet that was corrected by hand.",
        ),
    ),
    "doctor": (
        ("limner doctor", "What this machine can do, and what would help."),
        ("limner doctor --json", "The same, for a report of a fault."),
    ),
}
