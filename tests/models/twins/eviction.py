"""Eviction rules from the words of their papers: slow, plain, obviously right. One class each, `ask` answers hit or not.

Queues are lists with the oldest first. Weights are for those rules whose papers leave no doubt about them.
"""

from collections import OrderedDict


class Lru:
    """The least recently used leaves first."""

    def __init__(self, maxsize):
        self.maxsize = maxsize
        self.weight_of = OrderedDict()  # the least recently used first

    def ask(self, key, weight=1):
        if key in self.weight_of:
            self.touch(key)
            return True
        if weight <= self.maxsize:
            while sum(self.weight_of.values()) + weight > self.maxsize:
                self.weight_of.popitem(last=False)
            self.weight_of[key] = weight
        return False

    def touch(self, key):
        self.weight_of.move_to_end(key)


class Fifo(Lru):
    """The first that came leaves first; a hit changes nothing."""

    def touch(self, key):
        pass


class Sieve:
    """Zhang et al., NSDI 2024, algorithm 1: the hand walks from the oldest to the youngest, and round again."""

    def __init__(self, maxsize):
        self.maxsize = maxsize
        self.queue = []
        self.visited = {}
        self.hand = None  # the key it points at

    def ask(self, key):
        if key in self.visited:
            self.visited[key] = True
            return True
        if len(self.queue) == self.maxsize:
            self.evict()
        self.queue.append(key)
        self.visited[key] = False
        return False

    def evict(self):
        at = self.queue.index(self.hand) if self.hand is not None else 0
        while self.visited[self.queue[at]]:
            self.visited[self.queue[at]] = False
            at = (at + 1) % len(self.queue)
        del self.visited[self.queue.pop(at)]
        self.hand = self.queue[at] if at < len(self.queue) else None


class S3Fifo:
    """Yang et al., SOSP 2023: small, main and ghost queue. Small is a tenth; two hits lead to main; ghosts are 0.9 c."""

    def __init__(self, maxsize):
        self.maxsize = maxsize
        self.share = max(1, maxsize // 10)
        self.small, self.main, self.ghost = [], [], []
        self.hits = {}  # of those in small and main, three at most
        self.evicted = False

    def ask(self, key):
        if key in self.hits:
            self.hits[key] = min(self.hits[key] + 1, 3)
            return True
        returned = key in self.ghost
        if returned:
            self.ghost.remove(key)
        if len(self.hits) == self.maxsize:
            self.evict()
        filling = not self.evicted and len(self.small) >= self.share
        (self.main if returned or filling else self.small).append(key)
        self.hits[key] = 0
        return False

    def evict(self):
        self.evicted = True
        if len(self.main) <= self.maxsize - self.share:
            while self.small:
                key = self.small.pop(0)
                if self.hits[key] < 2:
                    del self.hits[key]
                    self.ghost.append(key)
                    del self.ghost[: max(0, len(self.ghost) - self.maxsize * 9 // 10)]
                    return
                self.hits[key] = 0
                self.main.append(key)
        while self.hits[key := self.main.pop(0)]:
            self.hits[key] -= 1
            self.main.append(key)
        del self.hits[key]


RULES = {"lru": Lru, "fifo": Fifo, "sieve": Sieve, "s3fifo": S3Fifo}
