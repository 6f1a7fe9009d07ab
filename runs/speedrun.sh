#!/bin/sh
# A text-to-image model from nothing, in about a quarter of an hour of two CPU cores:
# data -> codec -> prior -> scores. Read it from top to bottom; every command is one you can type.
#
#   runs/speedrun.sh               the whole story, into runs/speedrun
#   PERCENT=1 runs/speedrun.sh     the same with a hundredth of the work: it draws noise, in a minute
#
# What to expect: backgrounds, colours and numbers are mostly right, objects are blobs of the right
# colour (docs/examples.md has the scores). Good objects take the hours of docs/experiments.md.
# It needs the font Noto Color Emoji (Debian: fonts-noto-color-emoji; elsewhere set LIMNER_FONT).
set -eu
cd "$(dirname "$0")/.."
if [ -d .venv/bin ]; then PATH=$PWD/.venv/bin:$PATH; fi
out=${OUT:-runs/speedrun}
percent=${PERCENT:-100}

# part N: that percentage of N, and at least the second number.
part() { n=$(($1 * percent / 100)); if [ "$n" -lt "$2" ]; then n=$2; fi; echo "$n"; }
say() { printf '\n== %s\n' "$*" >&2; }

say "1. Data. A generator composes emoji scenes and captions them in English and Chinese."
# Some of them as files, to look at. Training makes its own as it goes, so none is stored.
# One tenth of the combinations (a blue cat, three owls) is never shown: they are the test.
limner data make scenes --count "$(part 200 20)" --level 3 --out "$out/scenes"
limner data check "$out/scenes"

say "2. The codec. It learns to turn a picture of 64 x 64 pixels into 8 x 8 codes, and back."
# A prior can only draw what the codec can give back, so this comes first. PSNR, in decibels, says
# how near its pictures are to the true ones: 20 is a blur, 25 is good at this size.
limner train configs/codecs/fsq.toml --out "$out/codec" --set data.level=3 \
    --set loop.steps="$(part 800 2)" --set loop.validate_every="$(part 400 2)" \
    --set loop.sample_every="$(part 400 2)" --set loop.warmup="$(part 80 1)" \
    --set data.held_for_validation="$(part 512 32)"

say "3. The prior. A GPT reads the caption and learns which code comes next, 64 of them a picture."
# The scenes are encoded once by the codec; the prior never sees a pixel. "validation" is its loss
# in nats a code on new scenes; ln 4000 = 8.3 is a random guess.
limner train configs/priors/gpt.toml --out "$out/prior" --set data.level=3 \
    --set codec_from="$out/codec" --set data.cached="$(part 32000 128)" \
    --set loop.steps="$(part 1200 2)" --set loop.validate_every="$(part 300 2)" \
    --set loop.sample_every="$(part 600 2)" --set loop.warmup="$(part 60 1)" \
    --set data.held_for_validation="$(part 512 32)"

say "4. Scores. Every drawing is compared with what its caption asked for."
# "seen": combinations from training; "held out": those that it never saw; the difference tells
# learning from memorising. "codec": the true pictures through the codec, what a perfect prior
# would score. "chance": a random guess.
limner eval "$out/prior" --on scenes --count "$(part 200 10)" --sets seen,held_out,codec \
    --out "$out/scores"

say "5. Draw."
limner draw "a red apple on a blue background" -n 4 --seed 0 --model "$out/prior" --out "$out/drawn"
limner draw "草地上的一只猫" -n 4 --seed 0 --model "$out/prior" --out "$out/drawn"
say "Look at $out/codec/samples-*.png, $out/prior/samples-*.png, $out/drawn and $out/scores."
