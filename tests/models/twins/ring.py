"""A consistent-hash ring as its papers describe it: all points in one sorted list, hashed by other people's code."""

from bisect import bisect_left
from hashlib import md5

from xxhash import xxh3_64_intdigest as xxh3


class Ring:
    def __init__(self, vnodes=160, hash="xxh3"):
        self.weights, self.vnodes, self.hash = {}, vnodes, hash

    def points(self):
        """Every (point, identity of the node, node), sorted."""
        found = []
        for node, weight in self.weights.items():
            name, identity = node.encode(), xxh3(node.encode())
            if self.hash == "xxh3":
                places = [xxh3(i.to_bytes(8, "little"), seed=identity) for i in range(max(1, round(self.vnodes * weight)))]
            else:
                hashes = self.vnodes // 4 * len(self.weights) * weight // sum(self.weights.values())
                digests = [md5(b"%s-%d" % (name, i)).digest() for i in range(hashes)]
                places = [int.from_bytes(digest[at:at + 4], "little") << 32 for digest in digests for at in (0, 4, 8, 12)]
            found += [(place, identity, node) for place in places]
        return sorted(found)

    def place(self, key):
        if self.hash == "ketama":
            return int.from_bytes(md5(key.encode() if isinstance(key, str) else b"%d" % key).digest()[:4], "little") << 32
        return xxh3(key.encode() if isinstance(key, str) else (key % 2**64).to_bytes(8, "little"))

    def order(self, key):
        """Every node, from the owner on."""
        points = self.points()
        start = bisect_left(points, (self.place(key),))
        return list(dict.fromkeys(node for _, _, node in points[start:] + points[:start]))
