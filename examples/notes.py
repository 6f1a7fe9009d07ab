"""Read how a prompt was understood, and which words a model knows.

python examples/notes.py
"""

import limner

(picture,) = limner.draw("a beautiful kitty and a puppi, please!!", seed=1)
print(f"drew: {picture.revised_prompt}")
for note in picture.notes:  # each has a code for programs, and is a sentence for people
    print(f"{note.code}: {note}")

model = limner.load("default")
print("words with apple:", ", ".join(str(word) for word in model.words.search("apple")[:5]))

(as_typed,) = model.draw("a beautiful kitty", seed=1, verbatim=True)
print("as typed:", [str(note) for note in as_typed.notes])
