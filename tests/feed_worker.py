"""A process that pushes, deletes, follows, unfollows and reads on a shared feed; for tests that kill it.

It says what it is about to do before each verb, and what came of it after. It owns its author and its readers, so that
what must be in Redis afterwards follows from what it said, but for the last verb when it was killed in it.
"""

import json
import random
import sys

READERS = 40  # of each worker
AUTHORS = 6  # one of each worker, of up to so many


def make(url, **words):
    """The feed of a test, whose copies are made in many small steps."""
    from samovar import Feed

    feed = Feed(url, namespace="storm", length=30, outbox=40, threshold=220, **words)
    feed._shared._at_once = 1
    return feed


def reads_well(feed, reader, limit):
    """Walk a feed while others change it: never twice, never out of order."""
    seen, cursor, last = set(), None, float("inf")
    while True:
        page = feed.page(reader, cursor, limit)
        for entry in page.items:
            assert entry.item not in seen and entry.score < last, (reader, entry)
            seen.add(entry.item)
            last = entry.score
        cursor = page.cursor
        if cursor is None:
            return


def work(url, number, count):
    feed, chance, mine, made = make(url, lease=60, timeout=60), random.Random(number), f"author-{number}", 0
    readers = [f"reader-{number}-{place}" for place in range(READERS)]
    for _ in range(count):
        verb = chance.choices(["push", "delete", "follow", "unfollow", "read"], [6, 1, 2, 1, 2])[0]
        if verb == "push":
            made += 1
            words = [mine, f"{mine}/{made}", made + number / 10]
        elif verb == "delete":
            words = [f"{mine}/{chance.randint(max(1, made - 10), made + 1)}"]
        elif verb == "read":
            reads_well(feed, f"reader-{chance.randrange(AUTHORS)}-{chance.randrange(READERS)}", chance.randint(1, 20))
            continue
        else:
            words = [chance.choice(readers), f"author-{chance.randrange(AUTHORS)}"]
        print(json.dumps([verb, words]), flush=True)
        print(json.dumps(getattr(feed, verb)(*words)), flush=True)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
