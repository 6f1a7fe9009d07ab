"""What goes wrong with each command: a case of each kind, or the reason why there is none."""

from dataclasses import dataclass

FULL = 5  # the exit code of a full disk
NO_MODEL = "it takes no model"
NO_FILE = "it reads no file"
NO_NUMBER = "it takes no number"
NO_WRITING = "it writes no file, and its answer meets the full disk"


@dataclass(frozen=True)
class Case:
    """The words after a command, its exit code, and what the sentence says."""

    words: str
    code: int
    told: str


@dataclass(frozen=True)
class Row:
    """What goes wrong with a command: a case of each kind, or why there is none.

    `answers` are words with which it answers, for the pipe that is closed; `full` is what a disk
    without room refuses, the answer itself where it is a str.
    """

    answers: str
    model: Case | str
    missing: Case | str
    number: Case | str
    full: Case | str
    refused: Case | str


UNKNOWN = "unknown model 'nosuch'"
PROC = "cannot write in '/proc/nowhere'"
ROWS = {
    "draw": Row(
        "x -q --no-preview",
        Case("x --model nosuch", 2, UNKNOWN),
        Case("--prompts absent.txt", 3, "cannot read 'absent.txt'"),
        Case("x -n 0", 2, "n is 0"),
        Case("x", FULL, "cannot write"),
        Case("x --out /proc/nowhere", 5, PROC),
    ),
    "vary": Row(
        "{in}/photo.png -q",
        Case("{in}/photo.png --model nosuch", 2, UNKNOWN),
        Case("absent.png", 3, "cannot read the picture 'absent.png'"),
        Case("{in}/photo.png --steps 0", 2, "steps is 0"),
        Case("{in}/photo.png", FULL, "cannot write"),
        Case("{in}/photo.png --out /proc/nowhere", 5, PROC),
    ),
    "edit": Row(
        "{in}/photo.png x --mask 0,0,16,16 -q --no-preview",
        Case("{in}/photo.png x --mask 0,0,16,16 --model nosuch", 2, UNKNOWN),
        Case("absent.png x", 3, "cannot read the picture 'absent.png'"),
        Case("{in}/photo.png x --candidates 0", 2, "candidates is 0"),
        Case("{in}/photo.png x --mask 0,0,16,16", FULL, "cannot write"),
        Case("{in}/photo.png x --out /proc/nowhere", 5, PROC),
    ),
    "outpaint": Row(
        "{in}/photo.png --left 8 -q --no-preview",
        Case("{in}/photo.png --left 8 --model nosuch", 2, UNKNOWN),
        Case("absent.png --left 8", 3, "cannot read the picture 'absent.png'"),
        Case("{in}/photo.png --left -1", 2, "left is -1"),
        Case("{in}/photo.png --left 8", FULL, "cannot write"),
        Case("{in}/photo.png --left 8 --out /proc/nowhere", 5, PROC),
    ),
    "morph": Row(
        "x y -q --frames 2",
        Case("x y --model nosuch", 2, UNKNOWN),
        Case("absent.png y", 3, "cannot read the picture 'absent.png'"),
        Case("x y --frames 1", 2, "frames is 1"),
        Case("x y --frames 2", FULL, "cannot write"),
        Case("x y --out /proc/nowhere", 5, PROC),
    ),
    "upscale": Row(
        "{in}/photo.png -q",
        NO_MODEL,
        Case("absent.png", 3, "cannot read the picture 'absent.png'"),
        Case("{in}/photo.png --by 3", 2, "upscale is 3"),
        Case("{in}/photo.png", FULL, "cannot write"),
        Case("{in}/photo.png --out /proc/nowhere", 5, PROC),
    ),
    "import": Row(
        "{in}/dall-e --out made",
        NO_MODEL,
        Case("absent --out made", 2, "there is nothing at 'absent'"),
        NO_NUMBER,
        Case("{in}/dall-e --out made", FULL, "cannot write"),
        Case("{in}/dall-e --out /proc/nowhere/made", 5, "cannot write '/proc/nowhere/made'"),
    ),
    "export": Row(
        "{in}/dvae --as openai-dvae --out made",
        Case("nosuch --as clip --out made", 2, UNKNOWN),
        Case("./absent --as clip --out made", 2, "there is no model folder at './absent'"),
        NO_NUMBER,
        Case("{in}/dvae --as openai-dvae --out made", FULL, "cannot write"),
        Case("{in}/dvae --as openai-dvae --out /proc/nowhere/made", 5, "cannot write"),
    ),
    "again": Row(
        "{in}/drawn.png",
        Case("{in}/drawn.png --model nosuch", 2, UNKNOWN),
        Case("absent.png", 3, "cannot read the picture 'absent.png'"),
        Case("{in}/drawn.png -n 0", 2, "n is 0"),
        Case("{in}/drawn.png", FULL, "cannot write"),
        Case("{in}/drawn.png --out /proc/nowhere", 5, PROC),
    ),
    "colourise": Row(
        "{in}/photo.png -q",
        Case("{in}/photo.png --model nosuch", 2, UNKNOWN),
        Case("absent.png", 3, "cannot read the picture 'absent.png'"),
        Case("{in}/photo.png --steps 0", 2, "steps is 0"),
        Case("{in}/photo.png", FULL, "cannot write"),
        Case("{in}/photo.png --out /proc/nowhere", 5, PROC),
    ),
    "restyle": Row(
        "{in}/photo.png --style 线稿 --model {in}/things -q",
        Case("{in}/photo.png --style sticker --model nosuch", 2, UNKNOWN),
        Case("absent.png --style sticker", 3, "cannot read the picture 'absent.png'"),
        NO_NUMBER,
        Case("{in}/photo.png --style 线稿 --model {in}/things", FULL, "cannot write"),
        Case("{in}/photo.png --style sticker --out /proc/nowhere", 5, PROC),
    ),
    "explain": Row(
        "x -q --no-preview",
        Case("x --model nosuch", 2, UNKNOWN),
        Case("absent.png", 3, "cannot read the picture 'absent.png'"),
        Case("x --guidance 101", 2, "guidance is 101"),
        Case("x", FULL, "cannot write"),
        Case("x --out /proc/nowhere", 5, PROC),
    ),
    "info": Row(
        "{in}/drawn.png",
        NO_MODEL,
        Case("{in}/drawn.png absent.png", 3, "cannot read the picture 'absent.png'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem", 3, "cannot read the picture '/proc/self/mem'"),
    ),
    "verify": Row(
        "{in}/drawn.png",
        NO_MODEL,
        Case("{in}/drawn.png absent.png", 3, "cannot read the picture 'absent.png'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem", 3, "cannot read the picture '/proc/self/mem'"),
    ),
    "mcp": Row(
        "--list",
        Case("--model nosuch", 2, UNKNOWN),
        Case("--policy absent.toml", 3, "cannot read 'absent.toml'"),
        Case("--port 0", 2, "port is 0"),
        "it writes when it is asked, and its answer meets the full disk",
        Case("--out /proc/nowhere", 5, PROC),
    ),
    "models list": Row("", NO_MODEL, NO_FILE, NO_NUMBER, NO_WRITING, NO_FILE),
    "models public": Row("", NO_MODEL, NO_FILE, NO_NUMBER, NO_WRITING, NO_FILE),
    "models pull": Row(
        "vqgan-f16-16384 --from {in}/vqgan.safetensors",
        Case("nosuch", 2, "no public model is called 'nosuch'"),
        Case("vqgan-f16-16384 --from absent", 2, "there is nothing at 'absent'"),
        NO_NUMBER,
        Case("vqgan-f16-16384 --from {in}/vqgan.safetensors", FULL, "cannot write"),
        Case("vqgan-f16-16384 --from {in}/photo.png", 4, "photo.png"),
    ),
    "models rm": Row(
        "openai-dvae",
        Case("nosuch", 2, "no public model is called 'nosuch'"),
        Case("dalle-mega", 2, "'dalle-mega' is not on this machine"),
        NO_NUMBER,
        NO_WRITING,
        NO_FILE,
    ),
    "models parts": Row("", NO_MODEL, NO_FILE, NO_NUMBER, NO_WRITING, NO_FILE),
    "models show": Row(
        "default",
        Case("nosuch", 2, UNKNOWN),
        Case("./nosuch", 2, "there is no model folder at './nosuch'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem", 4, "/proc/self/mem"),
    ),
    "models words": Row(
        "gan",
        Case("nosuch", 2, UNKNOWN),
        Case("./nosuch", 2, "there is no model folder at './nosuch'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem", 4, "/proc/self/mem"),
    ),
    "data make stamps": Row(
        "--from {in}/packages --size 16 --out made",
        NO_MODEL,
        Case("--from absent --out made", 2, "is not in 'absent'"),
        Case("--from {in}/packages --size 0 --out made", 2, "size"),
        Case("--from {in}/packages --size 16 --out made", FULL, "cannot write"),
        Case("--from {in}/packages --size 16 --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data make clipart": Row(
        "--from {in}/packages --size 16 --out made",
        NO_MODEL,
        Case("--from absent --out made", 2, "is not in 'absent'"),
        Case("--from {in}/packages --count -1 --out made", 2, "count"),
        Case("--from {in}/packages --size 16 --out made", FULL, "cannot write"),
        Case("--from {in}/packages --size 16 --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data make scenes": Row(
        "--count 1 --size 16 --out made",
        NO_MODEL,
        Case("--font absent.ttf --out made", 3, "no emoji font at absent.ttf"),
        Case("--count 0 --out made", 2, "count 0 is out of range"),
        Case("--count 2 --size 16 --out made", FULL, "cannot write"),
        Case("--count 1 --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data check": Row(
        "{in}/photos",
        NO_MODEL,
        Case("absent", 3, "'absent' is not there"),
        NO_NUMBER,
        Case("{in}/photos --out checked", FULL, "cannot write"),
        Case("{in}/photos --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data clean": Row(
        "{in}/photos --out cleaned",
        NO_MODEL,
        Case("absent --out cleaned", 3, "'absent' is not there"),
        Case("{in}/photos --out cleaned --least-side -1", 2, "least_side is -1"),
        Case("{in}/photos --out cleaned", FULL, "cannot write"),
        Case("{in}/photos --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "data encode": Row(
        "{in}/photos --codec {in}/dalle --out codes",
        Case("{in}/photos --codec nosuch --out codes", 2, UNKNOWN),
        Case("absent --codec {in}/dalle --out codes", 3, "'absent' is not there"),
        Case("{in}/photos --codec {in}/dalle --out codes --crops 0", 2, "crops is 0"),
        Case("{in}/photos --codec {in}/dalle --out codes", FULL, "cannot write"),
        Case("{in}/photos --codec {in}/dalle --out /proc/nowhere", 5, "/proc/nowhere"),
    ),
    "train": Row(
        "{in}/run.toml -q",
        Case(
            '{in}/run.toml --set start_from="nosuch"', 4, "there is no codec or model at 'nosuch'"
        ),
        Case("absent.toml", 2, "no config file at"),
        Case("{in}/run.toml --set loop.steps=0", 2, "steps is 0"),
        Case("{in}/run.toml", FULL, "cannot write"),
        Case('{in}/run.toml --set out="/proc/nowhere"', 5, "/proc/nowhere"),
    ),
    "adapt": Row(
        "default --on {in}/photos --out a.safetensors --steps 1 -q",
        Case("nosuch --on {in}/photos --out a.safetensors", 2, UNKNOWN),
        Case("default --on absent --out a.safetensors", 3, "'absent' is not there"),
        Case("default --on {in}/photos --out a.safetensors --rank 0", 2, "rank is 0"),
        Case("default --on {in}/photos --out a.safetensors --steps 1", FULL, "cannot write"),
        Case("default --on {in}/photos --out /proc/nowhere.safetensors", 5, "/proc/nowhere"),
    ),
    "eval": Row(
        "default --on {in}/p.txt --count 10 --json",
        Case("nosuch --on {in}/p.txt --count 10", 2, UNKNOWN),
        Case("default --on absent.txt", 2, "--on 'absent.txt'"),
        Case("default --on {in}/p.txt --count 1", 2, "count 1 is out of range"),
        Case("default --on {in}/p.txt --count 10", FULL, "cannot write"),
        Case("default --on {in}/p.txt --html /proc/nowhere", 5, PROC),
    ),
    "compare": Row(
        "default default --on {in}/p.txt --count 10 --json",
        Case("default nosuch --on {in}/p.txt --count 10", 2, UNKNOWN),
        Case("default default --on absent.txt", 2, "--on 'absent.txt'"),
        Case("default default --on {in}/p.txt --count 1", 2, "count 1 is out of range"),
        Case("default default --on {in}/p.txt --count 10", FULL, "cannot write"),
        Case("default default --on {in}/p.txt --html /proc/nowhere", 5, PROC),
    ),
    "arena": Row(
        "default default --prompts {in}/p.txt",
        Case("default nosuch --prompts {in}/p.txt", 2, UNKNOWN),
        Case("default default --prompts absent.txt", 3, "cannot read 'absent.txt'"),
        Case("default default --prompts {in}/p.txt --seed -1", 2, "seed -1 is out of range"),
        Case("default default --prompts {in}/p.txt", FULL, "cannot"),
        Case("default default --prompts {in}/p.txt --folder /proc/nowhere", 5, PROC),
    ),
    "serve": Row(
        "--port 0",
        Case("--model nosuch", 2, UNKNOWN),
        Case("--config absent.toml", 2, "cannot read 'absent.toml'"),
        Case("--port 99999", 2, "port is 99999"),
        NO_WRITING,
        Case("--host 0.0.0.0 --port 0", 2, "there is no key"),
    ),
    "rank": Row(
        "{in}/photo.png --prompt x -q",
        Case("{in}/photo.png --prompt x --model nosuch", 2, UNKNOWN),
        Case("absent.png --prompt x", 3, "cannot read the picture 'absent.png'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem --prompt x", 3, "cannot read the picture '/proc/self/mem'"),
    ),
    "clip classify": Row(
        "{in}/photo.png --labels a,b -q",
        Case("{in}/photo.png --labels a,b --model nosuch", 2, UNKNOWN),
        Case("absent.png --labels a,b", 3, "cannot read the picture 'absent.png'"),
        NO_NUMBER,
        NO_WRITING,
        Case("/proc/self/mem --labels a,b", 3, "cannot read the picture '/proc/self/mem'"),
    ),
    "audit memorisation": Row(
        "{in}/photos --train {in}/photos --json",
        Case("nosuch --train {in}/photos", 2, UNKNOWN),
        Case("default --train absent", 3, "'absent' is not there"),
        Case("default --train {in}/photos --prompts 0", 2, "--captions 0 is out of range"),
        Case("{in}/photos --train {in}/photos", FULL, "cannot write"),
        Case("{in}/photos --train {in}/photos --html /proc/nowhere", 5, PROC),
    ),
    "audit bias": Row(
        "default --labels a,b --prompts {in}/one.txt --count 10 --json",
        Case("nosuch --labels a,b", 2, UNKNOWN),
        Case("absent.csv --labels a,b", 3, "absent.csv"),
        Case("default --labels a,b --count 1", 2, "--count 1 is out of range"),
        Case("default --labels a,b --prompts {in}/one.txt --count 10", FULL, "cannot write"),
        Case("default --labels a,b --html /proc/nowhere", 5, PROC),
    ),
    "doctor": Row(
        "--json",
        Case("--model nosuch", 2, UNKNOWN),
        NO_FILE,
        NO_NUMBER,
        NO_WRITING,
        Case("--model /proc/self/mem", 4, "/proc/self/mem"),
    ),
}
ROWS["audit memorization"] = ROWS["audit memorisation"]
