"""Writes the training text: short dialogues from templates and facts, the same bytes for the same seed.

One record is `<|user|>…<|end|><|assistant|>…<|end|>` (repeated for several turns) and then `<|eot|>`. There is no
`<|bos|>`: a record starts with its first role mark, and inference does the same.

    python corpus.py --out /tmp/corpus.txt
"""

import argparse
import json
import random

from facts import (ANIMALS, CAPITALS, COLOURS, DAYS, FAQ, MONTH_DAYS, MONTHS, NUMBERS, OPPOSITES, PLACES, SOUNDS,
                   TERMS, THINGS, TRAITS, WORDS)


def definition(r):
    term, (phrase, short, why) = r.choice(list(TERMS.items()))
    kind = r.random()
    if kind < 0.6:
        q = r.choice([f"What is {phrase}?", f"Define {term}.", f"Explain {term}.", f"what is {phrase}",
                      f"What does {term} mean?", f"Tell me what {phrase} is.", f"Please explain {phrase}."])
        return q, short
    if kind < 0.85:
        q = r.choice([f"Explain {term} in detail.", f"Tell me more about {phrase}.", f"What is {phrase}, and why does it matter?"])
        return q, f"{short} {why}"
    return r.choice([f"Why does {phrase} matter?", f"Why is {phrase} important?", f"What is {phrase} good for?"]), why


def faq(r):
    questions, answer = r.choice(FAQ)
    q = r.choice(questions)
    return (q.lower().rstrip("?") if r.random() < 0.1 else q), answer


def arithmetic(r):
    """Sums, differences and products with operands up to 99; the result of a product stays below 100."""
    op = r.choice("++--*")
    if op == "*":
        a, b = r.randint(0, 10), r.randint(0, 10)
        c, name = a * b, "times"
    else:
        a, b = r.randint(0, 99), r.randint(0, 99)
        if op == "-":
            a, b = max(a, b), min(a, b)
        c, name = (a + b, "plus") if op == "+" else (a - b, "minus")
    q = r.choice([f"What is {a} {op} {b}?", f"{a} {op} {b}", f"{a} {op} {b} =", f"Calculate {a} {op} {b}.",
                  f"How much is {a} {op} {b}?", f"What is {a} {name} {b}?"])
    return q, f"{a} {op} {b} = {c}"


def compare(r):
    a, b = r.sample(range(100), 2)
    big = r.random() < 0.5
    q = f"Which is {'larger' if big else 'smaller'}, {a} or {b}?"
    c, d = (max(a, b), min(a, b)) if big else (min(a, b), max(a, b))
    return q, f"{c} is {'larger' if big else 'smaller'} than {d}."


def capital(r):
    country, city = r.choice(CAPITALS)
    if r.random() < 0.75:
        q = r.choice([f"What is the capital of {country}?", f"Name the capital of {country}.", f"capital of {country}",
                      f"Which city is the capital of {country}?", f"Tell me the capital of {country}."])
        return q, f"The capital of {country} is {city}."
    return f"{city} is the capital of which country?", f"{city} is the capital of {country}."


def calendar(r):
    kind = r.randrange(6)
    if kind < 2:
        i, name = r.randrange(7), r.choice(["after", "before"])
        other = DAYS[(i + (1 if name == "after" else -1)) % 7]
        q = r.choice([f"Which day comes {name} {DAYS[i]}?", f"What day comes {name} {DAYS[i]}?", f"What is the day {name} {DAYS[i]}?"])
        return q, f"{other} comes {name} {DAYS[i]}."
    if kind < 4:
        i, name = r.randrange(12), r.choice(["after", "before"])
        other = MONTHS[(i + (1 if name == "after" else -1)) % 12]
        return r.choice([f"Which month comes {name} {MONTHS[i]}?", f"What month comes {name} {MONTHS[i]}?"]), f"{other} comes {name} {MONTHS[i]}."
    if kind == 4:
        i = r.randrange(12)
        extra = ", and 29 in a leap year" if i == 1 else ""
        return f"How many days does {MONTHS[i]} have?", f"{MONTHS[i]} has {MONTH_DAYS[i]} days{extra}."
    return r.choice([("How many days are in a week?", "A week has seven days."),
                     ("How many months are in a year?", "A year has twelve months."),
                     ("Name the days of the week.", ", ".join(DAYS) + "."),
                     ("List the days of the week.", ", ".join(DAYS) + "."),
                     ("Name the months.", ", ".join(MONTHS) + "."),
                     ("List the months of the year.", ", ".join(MONTHS) + ".")])


def counting(r):
    kind = r.randrange(4)
    if kind == 0:
        n = r.randint(2, 20)
        return r.choice([f"Count to {n}.", f"Count from 1 to {n}."]), " ".join(map(str, range(1, n + 1)))
    if kind == 1:
        a = r.randint(1, 90)
        b = a + r.randint(2, 9)
        return f"Count from {a} to {b}.", " ".join(map(str, range(a, b + 1)))
    if kind == 2:
        n = r.randint(3, 12)
        return f"Count down from {n}.", " ".join(map(str, range(n, 0, -1)))
    n = r.randint(0, 98)
    return r.choice([(f"Which number comes after {n}?", f"{n + 1} comes after {n}."),
                     (f"Is {n} even or odd?", f"{n} is {'odd' if n % 2 else 'even'}."),
                     (f"Write {n % 21} as a word.", f"{n % 21} is {NUMBERS[n % 21]}.")])


def words(r):
    """Copying, sorting and lists: what teaches the model to look back into the prompt."""
    some = r.sample(WORDS, r.randint(2, 5))
    text = r.choice([", ", ", ", " "]).join(some)
    kind = r.randrange(8)
    if kind < 3:
        return r.choice([f"Sort these words: {text}", f"Sort: {text}", f"Put these words in order: {text}"]), ", ".join(sorted(some))
    if kind < 5:
        return r.choice([f"Write a JSON list of {text}.", f"Make a JSON list: {text}", f"JSON list of {text}"]), json.dumps(some)
    if kind == 5:
        return r.choice([f"Repeat: {text}", f"Repeat after me: {text}"]), text
    if kind == 6:
        return f"How many words are here: {text}", f"There are {NUMBERS[len(some)]} words."
    return r.choice([(f"Say these words backwards: {text}", ", ".join(reversed(some))),
                     (f"Which word comes first: {text}", f"The first word is {some[0]}."),
                     (f"Which word comes last: {text}", f"The last word is {some[-1]}.")])


def json_object(r):
    animal, n, colour = r.choice(ANIMALS), r.randint(1, 99), r.choice("red blue green yellow white black brown grey".split())
    q = r.choice(["Write a JSON object for a {c} {a}, age {n}.", "Give me JSON for a {c} {a} of age {n}."])
    return q.format(c=colour, a=animal, n=n), json.dumps({"animal": animal, "colour": colour, "age": n})


def a(noun):
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def story(r):
    animal, place, thing, trait = r.choice(ANIMALS), r.choice(PLACES), r.choice(THINGS), r.choice(TRAITS)
    where = r.random() < 0.3
    q = r.choice([f"Tell me a story about {a(animal)}", f"Tell a short story about {a(animal)}", f"Write a story about {a(animal)}"])
    q += f" and {a(thing)}." if where else "."
    friend = r.choice([x for x in ANIMALS if x != animal])
    middle = r.choice([
        f"One day the {animal} found {a(thing)} near the {place}. It belonged to {a(friend)}, so the {animal} carried it back.",
        f"One evening the {animal} heard a noise at the {place}. It was {a(friend)} that had lost {a(thing)}, and they looked for it together.",
        f"One morning {a(friend)} came to the {place} and asked for {a(thing)}. The {animal} had only one, but gave it away."])
    end = r.choice([f"From that day on the {animal} and the {friend} were friends.",
                    f"The {friend} said thank you, and the {animal} went home happy.",
                    f"That night the {animal} and the {friend} shared their supper."])
    return q, f"Once upon a time there was {a(trait)} {animal} who lived by the {place}. {middle} {end}"


def small_facts(r):
    kind = r.randrange(3)
    if kind == 0:
        thing, colour = r.choice(list(COLOURS.items()))
        return f"What colour is {thing}?", f"{thing[0].upper()}{thing[1:]} is {colour}."
    if kind == 1:
        pair = r.choice(OPPOSITES)
        x, y = pair if r.random() < 0.5 else pair[::-1]
        return r.choice([f"What is the opposite of {x}?", f"Name the opposite of {x}."]), f"The opposite of {x} is {y}."
    animal, sound = r.choice(list(SOUNDS.items()))
    return f"What does {animal} say?", f"{animal[0].upper()}{animal[1:]} says {sound}."


KINDS = [(definition, 16), (faq, 13), (arithmetic, 27), (compare, 2), (capital, 9), (calendar, 6), (counting, 6),
         (words, 15), (json_object, 3), (story, 7), (small_facts, 3)]
EXERCISES = {arithmetic, compare, counting, words}


def record(r, weights):
    """One dialogue; about one in eight has several turns, so that the model learns to answer the last question."""
    turns = r.choice([2, 2, 3]) if r.random() < 0.13 else 1
    pairs = [m(r) for m in r.choices(list(weights), weights.values(), k=turns)]
    return "".join(f"<|user|>{q}<|end|><|assistant|>{answer}<|end|>" for q, answer in pairs) + "<|eot|>"


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", required=True)
    p.add_argument("--bytes", type=int, default=16_000_000)
    p.add_argument("--seed", type=int, default=2026)
    p.add_argument("--exercises", type=int, default=1, help="how much more often to set sums, sorting and the like")
    args = p.parse_args()
    weights = {maker: w * (args.exercises if maker in EXERCISES else 1) for maker, w in KINDS}
    r, size = random.Random(args.seed), 0
    with open(args.out, "w", encoding="utf-8") as f:
        while size < args.bytes:
            line = record(r, weights)
            size += len(line.encode()) + 1
            f.write(line + "\n")  # the newline only separates records in the file; it is not trained on
    print(f"{size} bytes")


if __name__ == "__main__":
    main()
